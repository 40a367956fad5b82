#include "base/loop.h"

#include <future>

#include "base/check.h"
#include "base/thread.h"

namespace kiln {

EventLoop::EventLoop(const char* thread_name)
    : thread_(AwaitThread(thread_name, [this] { Run(); })) {}

EventLoop::~EventLoop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
}

void EventLoop::StopTimers() {
  decltype(timers_) dropped;
  {
    MutexLock lock(mutex_);
    timers_stopped_ = true;
    dropped.swap(timers_);
  }
  RunAndWait([] {});  // one may be running
}

void EventLoop::Post(std::function<void()> task) {
  {
    MutexLock lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.NotifyOne();
}

uint64_t EventLoop::PostAfter(nanoseconds delay, std::function<void()> task) {
  uint64_t id;
  {
    MutexLock lock(mutex_);
    id = next_timer_++;
    if (!timers_stopped_)
      timers_.emplace(std::chrono::steady_clock::now() + delay, std::pair{id, std::move(task)});
  }
  changed_.NotifyOne();
  return id;
}

void EventLoop::CancelTimer(uint64_t id) {
  MutexLock lock(mutex_);
  std::erase_if(timers_, [id](const auto& timer) { return timer.second.first == id; });
}

void EventLoop::RunAndWait(std::function<void()> task) {
  CHECK(!OnLoopThread());
  std::promise<void> done;
  Post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

void EventLoop::Run() {
  MutexLock lock(mutex_);
  for (;;) {
    auto now = std::chrono::steady_clock::now();
    while (!stopping_ && !timers_.empty() && timers_.begin()->first <= now) {
      tasks_.push_back(std::move(timers_.begin()->second.second));
      timers_.erase(timers_.begin());
    }
    if (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.Unlock();
      task();
      task = nullptr;
      lock.Lock();
    } else if (stopping_) {
      return;
    } else if (timers_.empty()) {
      changed_.Wait(lock);
    } else {
      changed_.WaitUntil(lock, timers_.begin()->first);
    }
  }
}

uint64_t ManualQueue::PostAfter(nanoseconds delay, std::function<void()> task) {
  timers_.emplace(now_ + delay, std::pair{next_timer_, std::move(task)});
  return next_timer_++;
}

void ManualQueue::CancelTimer(uint64_t id) {
  std::erase_if(timers_, [id](const auto& timer) { return timer.second.first == id; });
}

bool ManualQueue::RunOne() {
  if (tasks_.empty()) return false;
  auto task = std::move(tasks_.front());
  tasks_.pop_front();
  task();
  return true;
}

void ManualQueue::RunAll() {
  while (RunOne()) {
  }
}

void ManualQueue::Advance(nanoseconds by) {
  now_ += by;
  while (!timers_.empty() && timers_.begin()->first <= now_) {
    tasks_.push_back(std::move(timers_.begin()->second.second));
    timers_.erase(timers_.begin());
  }
}

}  // namespace kiln
