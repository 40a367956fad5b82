#pragma once

#include "base/mutex.h"
#include "base/time.h"

namespace kiln {

// Where time comes from. Implementations are safe to call from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime Now() const = 0;
  virtual SteadyTime Steady() const = 0;
};

// The machine's clocks.
class SystemClock final : public Clock {
 public:
  WallTime Now() const override;
  SteadyTime Steady() const override;
};

// A hand-wound clock for tests; begins at 2026-01-01T00:00:00Z.
class FakeClock final : public Clock {
 public:
  WallTime Now() const override;
  SteadyTime Steady() const override;
  void Advance(nanoseconds by);

 private:
  mutable Mutex mutex_;
  nanoseconds elapsed_ GUARDED_BY(mutex_){0};
};

}  // namespace kiln
