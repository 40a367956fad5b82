#include "control/job_table.h"

#include <algorithm>
#include <utility>

namespace kiln::control {

Result<LiveJobPtr> JobTable::Add(const std::string& ref) {
  auto job = std::make_shared<LiveJob>();
  job->ref = ref;
  job->created = clock_.Now();
  job->progress = std::make_shared<ProgressTable>(clock_);
  {
    MutexLock lock(mutex_);
    if (refusal_) return *refusal_;
    if (!jobs_.emplace(ref, Entry{job, nullptr}).second)
      return AlreadyExists("job ID {} exists", ref);
  }
  Notify();
  return job;
}

JobTable::Entry* JobTable::FindLocked(const LiveJobPtr& job) {
  const auto found = jobs_.find(job->ref);
  return found != jobs_.end() && found->second.job == job ? &found->second : nullptr;
}

void JobTable::SetBridge(const LiveJobPtr& job, std::shared_ptr<frontend::Bridge> bridge) {
  {
    MutexLock lock(mutex_);
    if (Entry* entry = FindLocked(job)) entry->bridge = std::move(bridge);
  }
  Notify();
}

void JobTable::End(const LiveJobPtr& job) {
  std::shared_ptr<frontend::Bridge> bridge;
  {
    MutexLock lock(mutex_);
    if (Entry* entry = FindLocked(job)) {
      entry->ended = true;
      bridge.swap(entry->bridge);  // dropped without the lock
    }
  }
  job->progress->Close();
  ended_.NotifyAll();
  Notify();
  loop_.PostAfter(kJobLinger, [this, job = LiveJobPtr(job)]() mutable { Forget(std::move(job)); });
}

void JobTable::Answered(const LiveJobPtr& job) {
  loop_.PostAfter(kAnswerLead, [this, job] {
    {
      MutexLock lock(mutex_);
      if (Entry* entry = FindLocked(job)) entry->told = true;
    }
    Notify();
  });
}

void JobTable::Forget(LiveJobPtr job) {
  {
    MutexLock lock(mutex_);
    if (FindLocked(job) != nullptr) jobs_.erase(job->ref);
    if (!jobs_.empty()) return;
  }
  job.reset();  // what the build needed can be given back only once it is free
  loop_.Post(idle_);
}

std::optional<Result<LiveJobPtr>> JobTable::AnswerLocked(const Waiter& waiter) const {
  const auto found = jobs_.find(waiter.ref);
  if (found == jobs_.end()) {
    if (refusal_) return Result<LiveJobPtr>(*refusal_);
    return std::nullopt;
  }
  const Entry& entry = found->second;
  if (!waiter.wants_bridge || entry.bridge || entry.told) return Result<LiveJobPtr>(entry.job);
  return std::nullopt;
}

void JobTable::Wait(const std::string& ref, bool wants_bridge, std::chrono::seconds limit,
                    std::function<void(Result<LiveJobPtr>)> done) {
  Waiter waiter{ref, wants_bridge, 0, std::move(done)};
  MutexLock lock(mutex_);
  if (auto answer = AnswerLocked(waiter)) {
    lock.Unlock();
    waiter.done(*std::move(answer));
    return;
  }
  const uint64_t id = next_waiter_++;
  waiter.timer = loop_.PostAfter(limit, [this, id] {
    Waiter late;
    {
      MutexLock timer_lock(mutex_);
      const auto found = waiters_.find(id);
      if (found == waiters_.end()) return;
      late = std::move(found->second);
      waiters_.erase(found);
    }
    late.done(NotFound("no such job {}", late.ref));
  });
  waiters_.emplace(id, std::move(waiter));
}

void JobTable::Notify() {
  std::vector<std::pair<Waiter, Result<LiveJobPtr>>> ready;
  {
    MutexLock lock(mutex_);
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
      MutexLock lock(mutex_);
      if (const Entry* entry = FindLocked(*job)) bridge = entry->bridge;
    }
    if (!bridge) {
      done(NotFound("no such job {}", (*job)->ref));
    } else {
      done(std::move(bridge));
    }
  });
}

std::vector<LiveJobPtr> JobTable::Active() const {
  MutexLock lock(mutex_);
  std::vector<LiveJobPtr> active;
  for (const auto& [ref, entry] : jobs_) {
    if (!entry.ended) active.push_back(entry.job);
  }
  return active;
}

bool JobTable::IsActive(const std::string& ref) const {
  MutexLock lock(mutex_);
  const auto found = jobs_.find(ref);
  return found != jobs_.end() && !found->second.ended;
}

void JobTable::Refuse(Error reason) {
  MutexLock lock(mutex_);
  refusal_ = std::move(reason);
}

void JobTable::CancelAll(const Error& reason) {
  for (const LiveJobPtr& job : Active()) job->cancel.Cancel(reason);
}

bool JobTable::WaitIdle(std::chrono::nanoseconds limit) const {
  MutexLock lock(mutex_);
  return ended_.WaitFor(lock, limit, [this]() REQUIRES(mutex_) {
    return std::all_of(jobs_.begin(), jobs_.end(),
                       [](const auto& job) { return job.second.ended; });
  });
}

}  // namespace kiln::control
