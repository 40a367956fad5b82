#include "control/cache_collector.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "store/store.h"

namespace kiln::control {
namespace {

constexpr std::chrono::seconds kDelay{1};
constexpr std::chrono::minutes kInterval{1};

}  // namespace

CacheCollector::~CacheCollector() { Stop(); }

void CacheCollector::Stop() {
  cancel_.Cancel();
  MutexLock lock(mutex_);
  stopped_ = true;
  while (running_) idle_.Wait(lock);
}

Result<std::vector<store::UsageRecord>> CacheCollector::DiskUsage(
    const std::vector<std::string>& filters, std::chrono::nanoseconds age_limit) {
  return parts_.store->DiskUsage(filters, age_limit);
}

Status CacheCollector::Prune(const progress::Activity& activity, const store::PruneRule& rule,
                             const store::PrunedFn& pruned) {
  return parts_.store->Prune(activity, {&rule, 1}, pruned);
}

void CacheCollector::Poke() {
  if (parts_.rules.empty()) return;
  MutexLock lock(mutex_);
  if (stopped_) return;
  if (running_) {
    again_ = true;  // it may be past what this is about
  } else {
    Schedule();
  }
}

void CacheCollector::Schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  nanoseconds delay = kDelay;
  if (last_ != SteadyTime())
    delay = std::max<nanoseconds>(delay, last_ + kInterval - parts_.clock->Steady());
  parts_.timers->PostAfter(delay, [this] {
    MutexLock lock(mutex_);
    scheduled_ = false;
    if (stopped_) return;
    running_ = true;
    parts_.blocking->Submit([this] { Collect(); });
  });
}

void CacheCollector::Collect() {
  progress::Activity activity;
  activity.cancel = cancel_.token();
  int removed = 0;
  const Status pruned =
      parts_.store->Prune(activity, parts_.rules, [&](const store::UsageRecord&) { ++removed; });
  if (!pruned.ok() && !cancel_.cancelled()) LOG_WARNING("collecting the cache: {}", pruned.error());
  if (removed > 0) LOG_INFO("collected {} records of the cache", removed);
  MutexLock lock(mutex_);
  last_ = parts_.clock->Steady();
  running_ = false;
  if (std::exchange(again_, false) && !stopped_) Schedule();
  idle_.NotifyAll();
}

}  // namespace kiln::control
