#include "base/pool.h"

#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/thread.h"

namespace kiln {
namespace {
constexpr auto kIdleTime = std::chrono::seconds(10);
}

WorkerPool::WorkerPool(std::string name, size_t max_threads)
    : name_(std::move(name)), max_threads_(max_threads) {
  CHECK(max_threads > 0);
}

WorkerPool::~WorkerPool() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
  while (threads_ > 0) thread_ended_.Wait(lock);
}

void WorkerPool::Submit(std::function<void()> task) {
  MutexLock lock(mutex_);
  CHECK_MSG(!stopping_ || threads_ > 0, "submit to a stopped pool");
  tasks_.push_back(std::move(task));
  if (idle_ >= tasks_.size() || threads_ >= max_threads_) {
    changed_.NotifyOne();
    return;
  }
  if (threads_ == 0) {
    ++threads_;
    lock.Unlock();
    AwaitThread(name_, [this] { Work(); }).detach();
  } else if (auto thread = StartThread(name_, [this] { Work(); }); thread.ok()) {
    ++threads_;
    thread->detach();
  }  // else one that runs will take it
}

size_t WorkerPool::threads() const {
  MutexLock lock(mutex_);
  return threads_;
}

void WorkerPool::Work() {
  MutexLock lock(mutex_);
  for (;;) {
    if (tasks_.empty()) {
      if (stopping_) break;
      ++idle_;
      auto awake = [this]() REQUIRES(mutex_) { return stopping_ || !tasks_.empty(); };
      bool work = changed_.WaitFor(lock, kIdleTime, awake);
      --idle_;
      if (!work) break;
      continue;
    }
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.Unlock();
    task();
    task = nullptr;
    lock.Lock();
  }
  --threads_;
  thread_ended_.NotifyAll();
}

}  // namespace kiln
