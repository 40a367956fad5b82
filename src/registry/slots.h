#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "progress/activity.h"

namespace kiln::registry {

// Bounds the transfers that run at once per registry; small JSON documents have one slot more, so
// that a manifest does not wait behind layers.
class Slots {
 public:
  explicit Slots(int per_host) : per_host_(per_host) {}

  // Given back when destroyed.
  class Hold {
   public:
    Hold(Slots* slots, std::string host) : slots_(slots), host_(std::move(host)) {}
    ~Hold() { slots_->Release(host_); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    Slots* slots_;
    std::string host_;
  };

  // Waits for a free slot; the activity's cancellation or deadline ends the wait.
  Result<std::unique_ptr<Hold>> Acquire(const progress::Activity& activity, const std::string& host,
                                        bool is_json);

 private:
  void Release(const std::string& host);

  const int per_host_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::map<std::string, int> used_;
};

}  // namespace kiln::registry
