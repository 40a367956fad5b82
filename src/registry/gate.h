#pragma once

// Inside registry only.

#include <memory>

#include "base/mutex.h"
#include "base/result.h"
#include "progress/activity.h"

namespace kiln::registry {

// Lets one at a time do what all wait for. Unlike for a mutex, the activity can end the wait.
class Gate {
 public:
  // Inside until destroyed.
  class Hold {
   public:
    explicit Hold(Gate* gate) : gate_(gate) {}
    ~Hold() { gate_->Leave(); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    Gate* gate_;
  };

  Result<std::unique_ptr<Hold>> Enter(const progress::Activity& activity) EXCLUDES(mutex_);

 private:
  void Leave() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar left_;
  bool taken_ GUARDED_BY(mutex_) = false;
};

}  // namespace kiln::registry
