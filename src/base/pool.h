#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

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

  void Submit(std::function<void()> task);
  size_t threads() const;

 private:
  void Work();

  const std::string name_;
  const size_t max_threads_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable thread_ended_;
  std::deque<std::function<void()>> tasks_;
  size_t threads_ = 0;
  size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace kiln
