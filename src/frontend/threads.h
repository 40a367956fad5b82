#pragma once

#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace kiln::frontend {

// Threads for requests that wait for steps or for other requests, one each: a bounded pool could
// lock up. How many there are at once is bounded by what a connection may have open.
class RequestThreads {
 public:
  RequestThreads() = default;
  // Waits for all; what they wait for must have been cancelled before.
  ~RequestThreads();
  RequestThreads(const RequestThreads&) = delete;
  RequestThreads& operator=(const RequestThreads&) = delete;

  void Run(std::function<void()> work);

 private:
  struct Entry {
    std::thread thread;
    bool done = false;
  };
  // Joins those that ended.
  void Reap();

  std::mutex mutex_;
  std::list<Entry> entries_;
};

}  // namespace kiln::frontend
