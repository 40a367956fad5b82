#include "control/job_table.h"

#include <algorithm>

namespace kiln::control {

Result<LiveJobPtr> JobTable::Add(const std::string& ref) {
  auto job = std::make_shared<LiveJob>();
  job->ref = ref;
  job->created = clock_.Now();
  job->progress = std::make_shared<ProgressTable>(clock_);
  {
    std::lock_guard lock(mutex_);
    if (refusal_) return *refusal_;
    if (!jobs_.emplace(ref, job).second) return AlreadyExists("job ID {} exists", ref);
  }
  Notify();
  return job;
}

void JobTable::SetBridge(const LiveJobPtr& job, std::shared_ptr<frontend::Bridge> bridge) {
  {
    std::lock_guard lock(mutex_);
    job->bridge = std::move(bridge);
  }
  Notify();
}

void JobTable::End(const LiveJobPtr& job) {
  std::shared_ptr<frontend::Bridge> bridge;
  {
    std::lock_guard lock(mutex_);
    job->ended = true;
    bridge.swap(job->bridge);  // dropped without the lock
  }
  job->progress->Close();
  ended_.notify_all();
  Notify();
  loop_.PostAfter(kJobLinger, [this, job] {
    {
      std::lock_guard lock(mutex_);
      const auto found = jobs_.find(job->ref);
      if (found != jobs_.end() && found->second == job) jobs_.erase(found);
      if (!jobs_.empty()) return;
    }
    idle_();
  });
}

std::optional<Result<LiveJobPtr>> JobTable::AnswerLocked(const Waiter& waiter) const {
  const auto found = jobs_.find(waiter.ref);
  if (found == jobs_.end()) {
    if (refusal_) return Result<LiveJobPtr>(*refusal_);
    return std::nullopt;
  }
  const LiveJobPtr& job = found->second;
  if (!waiter.wants_bridge || job->bridge) return Result<LiveJobPtr>(job);
  return std::nullopt;
}

void JobTable::Wait(const std::string& ref, bool wants_bridge, std::chrono::seconds limit,
                    std::function<void(Result<LiveJobPtr>)> done) {
  Waiter waiter{ref, wants_bridge, 0, std::move(done)};
  std::unique_lock lock(mutex_);
  if (auto answer = AnswerLocked(waiter)) {
    lock.unlock();
    waiter.done(*std::move(answer));
    return;
  }
  const uint64_t id = next_waiter_++;
  waiter.timer = loop_.PostAfter(limit, [this, id] {
    std::unique_lock timer_lock(mutex_);
    const auto found = waiters_.find(id);
    if (found == waiters_.end()) return;
    const Waiter late = std::move(found->second);
    waiters_.erase(found);
    timer_lock.unlock();
    late.done(NotFound("no such job {}", late.ref));
  });
  waiters_.emplace(id, std::move(waiter));
}

void JobTable::Notify() {
  std::vector<std::pair<Waiter, Result<LiveJobPtr>>> ready;
  {
    std::lock_guard lock(mutex_);
    for (auto it = waiters_.begin(); it != waiters_.end();) {
      if (auto answer = AnswerLocked(it->second)) {
        ready.emplace_back(std::move(it->second), *std::move(answer));
        it = waiters_.erase(it);
      } else {
        ++it;
      }
    }
  }
  for (auto& [waiter, answer] : ready) {
    loop_.CancelTimer(waiter.timer);
    waiter.done(std::move(answer));
  }
}

void JobTable::WhenPresent(const std::string& ref, std::function<void(Result<LiveJobPtr>)> done) {
  Wait(ref, false, kStatusWait, std::move(done));
}

void JobTable::WhenBridge(const std::string& ref,
                          std::function<void(Result<std::shared_ptr<frontend::Bridge>>)> done) {
  Wait(ref, true, kBridgeWait, [this, done = std::move(done)](Result<LiveJobPtr> job) {
    if (!job.ok()) {
      done(std::move(job).error());
      return;
    }
    std::shared_ptr<frontend::Bridge> bridge;
    {
      std::lock_guard lock(mutex_);
      bridge = (*job)->bridge;
    }
    if (!bridge) {
      done(NotFound("no such job {}", (*job)->ref));
    } else {
      done(std::move(bridge));
    }
  });
}

std::vector<LiveJobPtr> JobTable::Active() const {
  std::lock_guard lock(mutex_);
  std::vector<LiveJobPtr> active;
  for (const auto& [ref, job] : jobs_) {
    if (!job->ended) active.push_back(job);
  }
  return active;
}

void JobTable::Refuse(Error reason) {
  std::lock_guard lock(mutex_);
  refusal_ = std::move(reason);
}

void JobTable::CancelAll(const Error& reason) {
  for (const LiveJobPtr& job : Active()) job->cancel.Cancel(reason);
}

bool JobTable::WaitIdle(std::chrono::nanoseconds limit) const {
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, limit, [this] {
    return std::all_of(jobs_.begin(), jobs_.end(),
                       [](const auto& job) { return job.second->ended; });
  });
}

}  // namespace kiln::control
