#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "base/mutex.h"

namespace kiln {

// Threads for work that blocks or computes. Grows on demand to `max_threads`; further tasks queue.
// Threads that idle for ten seconds end. Submit may be called from any thread.
class WorkerPool {
 public:
  WorkerPool(std::string name, size_t max_threads);
  // Runs what was submitted, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Where the system gives no thread (EAGAIN) and none is running yet, waits until it does.
  void Submit(std::function<void()> task);
  size_t threads() const;

 private:
  void Work() EXCLUDES(mutex_);

  const std::string name_;
  const size_t max_threads_;
  mutable Mutex mutex_;
  CondVar changed_;
  CondVar thread_ended_;
  std::deque<std::function<void()>> tasks_ GUARDED_BY(mutex_);
  size_t threads_ GUARDED_BY(mutex_) = 0;
  size_t idle_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace kiln
