#include "store/janitor.h"

#include <fcntl.h>

#include "base/log.h"
#include "sys/file_info.h"

namespace kiln::store {

Janitor::Janitor(std::function<void()> sync, std::chrono::milliseconds delay)
    : sync_(std::move(sync)), delay_(delay), thread_([this] { Run(); }) {}

Janitor::~Janitor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Janitor::Delete(std::string path) {
  std::lock_guard lock(mutex_);
  doomed_.push_back(std::move(path));
  changed_.notify_all();
}

void Janitor::WantSync() {
  std::lock_guard lock(mutex_);
  if (wants_sync_) return;
  wants_sync_ = true;
  sync_at_ = std::chrono::steady_clock::now() + delay_;
  changed_.notify_all();
}

void Janitor::Drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return doomed_.empty() && !busy_; });
}

void Janitor::DeletePath(const std::string& path, int depth) {
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
  if (Status removed = sys::RemoveTree(path); !removed.ok()) {
    LOG_WARNING("removing {}: {}", path, removed.error());
  }
}

void Janitor::Run() {
  constexpr int kPieceDepth = 4;  // N/fs/a/b: what lies deeper goes in one go
  std::unique_lock lock(mutex_);
  while (true) {
    if (stopping_) return;
    if (!doomed_.empty()) {
      const std::string path = std::move(doomed_.front());
      doomed_.pop_front();
      busy_ = true;
      lock.unlock();
      DeletePath(path, kPieceDepth);
      lock.lock();
      busy_ = false;
      changed_.notify_all();
      continue;
    }
    if (!wants_sync_) {
      changed_.wait(lock);
    } else if (std::chrono::steady_clock::now() < sync_at_) {
      changed_.wait_until(lock, sync_at_);
    } else {
      wants_sync_ = false;
      lock.unlock();
      sync_();
      lock.lock();
    }
  }
}

}  // namespace kiln::store
