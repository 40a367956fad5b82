#include "frontend/threads.h"

#include <utility>

namespace kiln::frontend {

RequestThreads::~RequestThreads() {
  for (Entry& entry : entries_) entry.thread.join();
}

void RequestThreads::Run(std::function<void()> work) {
  Reap();
  std::lock_guard lock(mutex_);
  Entry& entry = entries_.emplace_back();
  entry.thread = std::thread([this, &entry, work = std::move(work)] {
    work();
    std::lock_guard done(mutex_);
    entry.done = true;
  });
}

void RequestThreads::Reap() {
  std::list<Entry> ended;
  {
    std::lock_guard lock(mutex_);
    for (auto it = entries_.begin(); it != entries_.end();) {
      const auto next = std::next(it);
      if (it->done) ended.splice(ended.end(), entries_, it);
      it = next;
    }
  }
  for (Entry& entry : ended) entry.thread.join();
}

}  // namespace kiln::frontend
