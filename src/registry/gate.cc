#include "registry/gate.h"

namespace kiln::registry {

Result<std::unique_ptr<Gate::Hold>> Gate::Enter(const progress::Activity& activity) {
  const auto wake = activity.cancel.OnCancel([this] {
    // Taken so that the wake-up cannot fall between a waiter's check and its wait.
    const MutexLock lock(mutex_);
    left_.NotifyAll();
  });
  {
    MutexLock lock(mutex_);
    while (taken_) {
      TRY(activity.Check());
      if (activity.deadline) {
        left_.WaitUntil(lock, *activity.deadline);
      } else {
        left_.Wait(lock);
      }
    }
    taken_ = true;
  }
  return std::make_unique<Hold>(this);
}

void Gate::Leave() {
  const MutexLock lock(mutex_);
  taken_ = false;
  left_.NotifyAll();
}

}  // namespace kiln::registry
