#include "store/janitor.h"

#include <fcntl.h>

#include "base/log.h"
#include "base/thread.h"
#include "sys/file_info.h"
#include "sys/remove_tree.h"

namespace kiln::store {

Janitor::Janitor(std::function<void()> sync, std::chrono::milliseconds delay)
    : sync_(std::move(sync)), delay_(delay) {}

Result<std::unique_ptr<Janitor>> Janitor::Start(std::function<void()> sync,
                                                std::chrono::milliseconds delay) {
  std::unique_ptr<Janitor> janitor(new Janitor(std::move(sync), delay));
  Janitor* const at = janitor.get();
  TRY_ASSIGN(janitor->deleter_, StartThread("store-janitor", [at] { at->RunDeletions(); }));
  TRY_ASSIGN(janitor->syncer_, StartThread("store-sync", [at] { at->RunSyncs(); }));
  return janitor;
}

Janitor::~Janitor() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (std::thread* thread : {&deleter_, &syncer_}) {
    if (thread->joinable()) thread->join();
  }
}

void Janitor::Delete(std::string path) {
  MutexLock lock(mutex_);
  doomed_.push_back(std::move(path));
  changed_.NotifyAll();
}

void Janitor::WantSync() {
  MutexLock lock(mutex_);
  if (wants_sync_) return;
  wants_sync_ = true;
  sync_at_ = std::chrono::steady_clock::now() + delay_;
  changed_.NotifyAll();
}

void Janitor::Drain() {
  MutexLock lock(mutex_);
  while (!doomed_.empty() || busy_) changed_.Wait(lock);
}

void Janitor::DeletePath(const std::string& path, int depth) {
  if (sys::RemoveTree(path, stopping_).ok() || stopping_) return;
  const Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (depth > 0 && fd.valid()) {
    auto entries = sys::ReadDir(fd.get());
    if (!entries.ok()) return;
    for (const sys::DirEntry& entry : *entries) {
      if (stopping_) return;
      DeletePath(path + "/" + entry.name, depth - 1);
    }
  }
  if (stopping_) return;
  if (Status removed = sys::RemoveTree(path, stopping_); !removed.ok() && !stopping_) {
    LOG_WARNING("removing {}: {}", path, removed.error());
  }
}

void Janitor::RunDeletions() {
  constexpr int kPieceDepth = 4;  // N/fs/a/b
  MutexLock lock(mutex_);
  while (true) {
    while (!stopping_ && doomed_.empty()) changed_.Wait(lock);
    if (stopping_) return;
    const std::string path = std::move(doomed_.front());
    doomed_.pop_front();
    busy_ = true;
    lock.Unlock();
    DeletePath(path, kPieceDepth);
    lock.Lock();
    busy_ = false;
    changed_.NotifyAll();
  }
}

void Janitor::RunSyncs() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    if (!wants_sync_) {
      changed_.Wait(lock);
    } else if (std::chrono::steady_clock::now() < sync_at_) {
      changed_.WaitUntil(lock, sync_at_);
    } else {
      wants_sync_ = false;
      lock.Unlock();
      sync_();
      lock.Lock();
    }
  }
}

}  // namespace kiln::store
