#pragma once

#include <functional>
#include <list>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/result.h"

namespace kiln {

// Threads for work that waits for other work, one each: a pool could lock up.
class ThreadSet {
 public:
  // At most `limit` run at a time. `name` is that of each (base/thread.h).
  ThreadSet(std::string name, size_t limit) : name_(std::move(name)), limit_(limit) {}
  // Waits for all; what they wait for must have been told to end before.
  ~ThreadSet();
  ThreadSet(const ThreadSet&) = delete;
  ThreadSet& operator=(const ThreadSet&) = delete;

  // ResourceExhausted if as many run as may, or there is no thread to be had: then `work` has not
  // run and never will.
  Status Run(std::function<void()> work) EXCLUDES(mutex_);

 private:
  struct Entry {
    std::thread thread;
    bool done = false;
  };
  // Joins those that ended.
  void Reap() EXCLUDES(mutex_);

  const std::string name_;
  const size_t limit_;
  Mutex mutex_;
  std::list<Entry> entries_ GUARDED_BY(mutex_);
};

}  // namespace kiln
