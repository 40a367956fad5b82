#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "progress/activity.h"
#include "registry/hosts.h"

namespace kiln::registry {

// Bounds the transfers that run at once per registry and direction; small JSON documents have one
// slot more, so that a manifest does not wait behind layers. What is pushed may have to be pulled
// first, from the same registry, while it has its slot: so pulls never wait for pushes.
class Slots {
 public:
  explicit Slots(int per_host) : per_host_(per_host) {}

  // Given back when destroyed.
  class Hold {
   public:
    Hold(Slots* slots, std::string key) : slots_(slots), key_(std::move(key)) {}
    ~Hold() { slots_->Release(key_); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    Slots* slots_;
    std::string key_;
  };

  // Waits for a free slot; the activity's cancellation or deadline ends the wait.
  Result<std::unique_ptr<Hold>> Acquire(const progress::Activity& activity, const std::string& host,
                                        Purpose purpose, bool is_json) EXCLUDES(mutex_);

 private:
  void Release(const std::string& key) EXCLUDES(mutex_);

  const int per_host_;
  Mutex mutex_;
  CondVar freed_;
  std::map<std::string, int> used_ GUARDED_BY(mutex_);
};

}  // namespace kiln::registry
