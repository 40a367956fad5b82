#include "registry/slots.h"

namespace kiln::registry {

Result<std::unique_ptr<Slots::Hold>> Slots::Acquire(const progress::Activity& activity,
                                                    const std::string& host, Purpose purpose,
                                                    bool is_json) {
  const auto wake = activity.cancel.OnCancel([this] {
    // Taken so that the wake-up cannot fall between a waiter's check and its wait.
    const MutexLock lock(mutex_);
    freed_.NotifyAll();
  });
  const std::string key = host + (purpose == Purpose::kPush ? " push" : " pull");
  const int limit = per_host_ + (is_json ? 1 : 0);
  {
    MutexLock lock(mutex_);
    while (used_[key] >= limit) {
      TRY(activity.Check());
      if (activity.deadline) {
        freed_.WaitUntil(lock, *activity.deadline);
      } else {
        freed_.Wait(lock);
      }
    }
    ++used_[key];
  }
  return std::make_unique<Hold>(this, key);
}

void Slots::Release(const std::string& key) {
  const MutexLock lock(mutex_);
  const auto it = used_.find(key);
  if (--it->second == 0) used_.erase(it);
  freed_.NotifyAll();
}

}  // namespace kiln::registry
