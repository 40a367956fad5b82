#include "base/pool.h"

#include <pthread.h>

#include <chrono>
#include <utility>

#include "base/check.h"

namespace kiln {
namespace {
constexpr auto kIdleTime = std::chrono::seconds(10);
}

WorkerPool::WorkerPool(std::string name, size_t max_threads)
    : name_(std::move(name)), max_threads_(max_threads) {
  CHECK(max_threads > 0);
}

WorkerPool::~WorkerPool() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
  thread_ended_.wait(lock, [this] { return threads_ == 0; });
}

void WorkerPool::Submit(std::function<void()> task) {
  std::lock_guard lock(mutex_);
  CHECK_MSG(!stopping_ || threads_ > 0, "submit to a stopped pool");
  tasks_.push_back(std::move(task));
  if (idle_ >= tasks_.size() || threads_ >= max_threads_) {
    changed_.notify_one();
    return;
  }
  ++threads_;
  std::thread thread([this] { Work(); });
  // The kernel takes 15 characters.
  pthread_setname_np(thread.native_handle(), name_.substr(0, 15).c_str());
  thread.detach();
}

size_t WorkerPool::threads() const {
  std::lock_guard lock(mutex_);
  return threads_;
}

void WorkerPool::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (tasks_.empty()) {
      if (stopping_) break;
      ++idle_;
      auto awake = [this] { return stopping_ || !tasks_.empty(); };
      bool work = changed_.wait_for(lock, kIdleTime, awake);
      --idle_;
      if (!work) break;
      continue;
    }
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
  --threads_;
  thread_ended_.notify_all();
}

}  // namespace kiln
