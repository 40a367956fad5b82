#pragma once

#include <set>
#include <string>

#include "base/mutex.h"
#include "progress/activity.h"

namespace kiln::store {

// One holder per key at a time; the others wait, each under its own activity. What the winner did,
// the next ones look up.
class KeyedGate {
 public:
  class Ticket {
   public:
    Ticket(KeyedGate* gate, std::string key) : gate_(gate), key_(std::move(key)) {}
    Ticket(Ticket&& other) noexcept
        : gate_(std::exchange(other.gate_, nullptr)), key_(std::move(other.key_)) {}
    Ticket& operator=(Ticket&&) = delete;
    ~Ticket() {
      if (gate_ != nullptr) gate_->Leave(key_);
    }

   private:
    KeyedGate* gate_;
    std::string key_;
  };

  // Cancelled with the activity's reason.
  Result<Ticket> Enter(const progress::Activity& activity, std::string key);

 private:
  void Leave(const std::string& key);

  Mutex mutex_;
  CondVar changed_;
  std::set<std::string> held_ GUARDED_BY(mutex_);
};

}  // namespace kiln::store
