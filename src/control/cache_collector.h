#pragma once

#include <chrono>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "base/mutex.h"
#include "base/pool.h"
#include "control/control_service.h"

namespace kiln::store {
class Store;
}

namespace kiln::control {

// Collects by the configured rules a second after each Poke, at most once a minute.
class CacheCollector final : public Collector {
 public:
  struct Parts {
    store::Store* store = nullptr;
    WorkerPool* blocking = nullptr;
    TaskQueue* timers = nullptr;
    const Clock* clock = nullptr;
    std::vector<store::PruneRule> rules;  // in this order; none: never by itself
  };

  explicit CacheCollector(Parts parts) : parts_(std::move(parts)) {}
  // Cancels a collection under way and waits for it. The timers' queue may still call back: it must
  // have ended, or be ended, before this goes.
  ~CacheCollector() override;

  Result<std::vector<store::UsageRecord>> DiskUsage(const std::vector<std::string>& filters,
                                                    std::chrono::nanoseconds age_limit) override;
  Status Prune(const progress::Activity& activity, const store::PruneRule& rule,
               const store::PrunedFn& pruned) override;
  void Poke() override;
  // No collection begins after this; waits for one under way.
  void Stop();

 private:
  void Schedule() REQUIRES(mutex_);
  void Collect() EXCLUDES(mutex_);

  const Parts parts_;
  CancelSource cancel_;
  Mutex mutex_;
  CondVar idle_;
  bool scheduled_ GUARDED_BY(mutex_) = false;
  bool running_ GUARDED_BY(mutex_) = false;
  bool again_ GUARDED_BY(mutex_) = false;  // poked while running
  bool stopped_ GUARDED_BY(mutex_) = false;
  SteadyTime last_ GUARDED_BY(mutex_){};
};

}  // namespace kiln::control
