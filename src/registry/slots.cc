#include "registry/slots.h"

namespace kiln::registry {

Result<std::unique_ptr<Slots::Hold>> Slots::Acquire(const progress::Activity& activity,
                                                    const std::string& host, bool is_json) {
  const auto wake = activity.cancel.OnCancel([this] {
    // Taken so that the wake-up cannot fall between a waiter's check and its wait.
    const std::lock_guard lock(mutex_);
    freed_.notify_all();
  });
  const int limit = per_host_ + (is_json ? 1 : 0);
  std::unique_lock lock(mutex_);
  while (used_[host] >= limit) {
    if (Status status = activity.Check(); !status.ok()) {
      lock.unlock();
      return std::move(status).error();
    }
    if (activity.deadline) {
      freed_.wait_until(lock, *activity.deadline);
    } else {
      freed_.wait(lock);
    }
  }
  ++used_[host];
  lock.unlock();
  return std::make_unique<Hold>(this, host);
}

void Slots::Release(const std::string& host) {
  const std::lock_guard lock(mutex_);
  const auto it = used_.find(host);
  if (--it->second == 0) used_.erase(it);
  freed_.notify_all();
}

}  // namespace kiln::registry
