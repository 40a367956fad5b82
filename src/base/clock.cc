#include "base/clock.h"

namespace kiln {
namespace {
constexpr int64_t kFakeStartSeconds = 1767225600;  // 2026-01-01T00:00:00Z
}

WallTime SystemClock::Now() const {
  return std::chrono::time_point_cast<nanoseconds>(std::chrono::system_clock::now());
}
SteadyTime SystemClock::Steady() const { return std::chrono::steady_clock::now(); }

WallTime FakeClock::Now() const {
  MutexLock lock(mutex_);
  return WallTime(std::chrono::seconds(kFakeStartSeconds)) + elapsed_;
}

SteadyTime FakeClock::Steady() const {
  MutexLock lock(mutex_);
  return SteadyTime() + std::chrono::hours(1) + elapsed_;
}

void FakeClock::Advance(nanoseconds by) {
  MutexLock lock(mutex_);
  elapsed_ += by;
}

}  // namespace kiln
