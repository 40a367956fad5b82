#include "store/keyed_gate.h"

namespace kiln::store {

Result<KeyedGate::Ticket> KeyedGate::Enter(const progress::Activity& activity, std::string key) {
  const auto wake = activity.cancel.OnCancel([this] {
    // Taking the lock makes sure that a waiter is either before its check or already waiting.
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  });
  MutexLock lock(mutex_);
  while (true) {
    if (held_.insert(key).second) return Ticket(this, std::move(key));
    TRY(activity.Check());
    if (activity.deadline) {
      changed_.WaitUntil(lock, *activity.deadline);
    } else {
      changed_.Wait(lock);
    }
  }
}

void KeyedGate::Leave(const std::string& key) {
  MutexLock lock(mutex_);
  held_.erase(key);
  changed_.NotifyAll();
}

}  // namespace kiln::store
