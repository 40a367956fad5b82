#include "store/keyed_gate.h"

namespace kiln::store {

Result<KeyedGate::Ticket> KeyedGate::Enter(const progress::Activity& activity, std::string key) {
  const auto wake = activity.cancel.OnCancel([this] {
    // Taking the lock makes sure that a waiter is either before its check or already waiting.
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);
  while (true) {
    if (held_.insert(key).second) return Ticket(this, std::move(key));
    TRY(activity.Check());
    if (activity.deadline) {
      changed_.wait_until(lock, *activity.deadline);
    } else {
      changed_.wait(lock);
    }
  }
}

void KeyedGate::Leave(const std::string& key) {
  std::lock_guard lock(mutex_);
  held_.erase(key);
  changed_.notify_all();
}

}  // namespace kiln::store
