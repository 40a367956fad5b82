#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace kiln {

// A time as protobuf and the kernel have it. What nanoseconds since 1970 in 64 bits cannot hold
// (before 1677, after 2262) becomes the nearest that they can.
inline WallTime FromUnix(int64_t seconds, int64_t nanos, int64_t most = INT64_MAX) {
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t last = most / kSecond;
  nanos = std::clamp<int64_t>(nanos, 0, kSecond - 1);
  if (seconds < -last) return FromUnixNanos(-most);
  if (seconds > last) return FromUnixNanos(most);
  if (seconds == last) nanos = std::min(nanos, most % kSecond);
  return FromUnixNanos(seconds * kSecond + nanos);
}

// The same for when something happened, as somebody else says: near enough to 1970 for the
// difference of any two to be held as well.
inline WallTime EventTime(int64_t seconds, int64_t nanos) {
  return FromUnix(seconds, nanos, INT64_MAX / 2);
}

}  // namespace kiln
