#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kiln {

using std::chrono::nanoseconds;
// A point of civil time, UTC, in nanoseconds since 1970. The default value means "not set".
using WallTime = std::chrono::sys_time<nanoseconds>;
using SteadyTime = std::chrono::steady_clock::time_point;

// RFC 3339 in UTC with up to nine fractional digits, trailing zeros cut ("2026-01-02T03:04:05.5Z").
std::string FormatRfc3339(WallTime time);
// Any RFC 3339 text with zone "Z" or an offset.
Result<WallTime> ParseRfc3339(std::string_view text);
inline int64_t UnixNanos(WallTime time) { return time.time_since_epoch().count(); }
inline WallTime FromUnixNanos(int64_t nanos) { return WallTime(nanoseconds(nanos)); }
// Go's time.ParseDuration: "1h30m", "10s", "1.5ms"; "0" alone; sign allowed.
Result<nanoseconds> ParseDuration(std::string_view text);

}  // namespace kiln
