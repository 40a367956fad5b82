#include "base/thread_set.h"

#include <utility>

#include "base/thread.h"

namespace kiln {

ThreadSet::~ThreadSet() {
  std::list<Entry> entries;
  {
    MutexLock lock(mutex_);
    // The nodes stay where they are, and threads mark them as done under the lock.
    entries.swap(entries_);
  }
  for (Entry& entry : entries) entry.thread.join();
}

Status ThreadSet::Run(std::function<void()> work) {
  Reap();
  MutexLock lock(mutex_);
  if (entries_.size() >= limit_) {
    return ResourceExhausted("{}: {} are at work, and that is as many as may be", name_, limit_);
  }
  Entry& entry = entries_.emplace_back();
  auto thread = StartThread(name_, [this, &entry, work = std::move(work)] {
    work();
    MutexLock done(mutex_);
    entry.done = true;
  });
  if (!thread.ok()) {
    entries_.pop_back();
    return std::move(thread).error();
  }
  entry.thread = *std::move(thread);
  return OkStatus();
}

void ThreadSet::Reap() {
  std::list<Entry> ended;
  {
    MutexLock lock(mutex_);
    for (auto it = entries_.begin(); it != entries_.end();) {
      const auto next = std::next(it);
      if (it->done) ended.splice(ended.end(), entries_, it);
      it = next;
    }
  }
  for (Entry& entry : ended) entry.thread.join();
}

}  // namespace kiln
