#include "control/cache_collector.h"

#include <gtest/gtest.h>

#include <deque>

#include "store/store.h"
#include "store/testing/files.h"
#include "sys/testing/test_spawner.h"

namespace kiln::control {
namespace {

// Timers that fire when the test says so.
class HeldTimers final : public TaskQueue {
 public:
  void Post(std::function<void()> task) override { (void)PostAfter(nanoseconds(0), task); }
  uint64_t PostAfter(nanoseconds /*delay*/, std::function<void()> task) override {
    MutexLock lock(mutex_);
    tasks_.push_back(std::move(task));
    changed_.NotifyAll();
    return 1;
  }
  void CancelTimer(uint64_t /*id*/) override {}

  // Waits for the next one to be set.
  void Fire() {
    std::function<void()> task;
    {
      MutexLock lock(mutex_);
      while (tasks_.empty()) changed_.Wait(lock);
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> tasks_ GUARDED_BY(mutex_);
};

TEST(CacheCollectorTest, WhatComesDuringACollectionIsCollectedAfterIt) {
  using store::Must;
  const sys::TempDir temp;
  store::StoreOptions options;
  options.root = temp / "root";
  const auto store = Must(store::Store::Open(options));
  WorkerPool blocking("test", 2);
  HeldTimers timers;
  SystemClock clock;
  store::PruneRule everything;
  everything.all = true;
  CacheCollector collector({store.get(), &blocking, &timers, &clock, {everything}});
  Mutex mutex;
  CondVar changed;
  int collected = 0;
  store->OnCollected([&](std::span<const std::string>) {
    const bool first = [&] {
      MutexLock lock(mutex);
      changed.NotifyAll();
      return ++collected == 1;
    }();
    if (!first) return;
    store::CommitFiles(*store, {}, {{"/late", "2"}});  // this run has its list already
    collector.Poke();
  });
  store::CommitFiles(*store, {}, {{"/early", "1"}});
  collector.Poke();
  timers.Fire();
  timers.Fire();
  MutexLock lock(mutex);
  while (collected < 2) changed.Wait(lock);
}

}  // namespace
}  // namespace kiln::control
