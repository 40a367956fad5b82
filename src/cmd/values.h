#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace kiln::cmd {

// A variable of the environment; "" if it is not set.
std::string Env(const char* name);

// "512m", "2GB", "100": bytes, with binary units. Errors name the flag.
Result<int64_t> ParseSize(const std::string& flag, const std::string& text);

// Filters of `du` and `prune` as docker has them, all of which must hold, in containerd's words:
// `id=X` looks for X anywhere in the id, `until=24h` becomes a duration, `key=value` means
// equality; expressions with ==, != or ~= are passed on.
struct CacheFilter {
  std::vector<std::string> expressions;
  nanoseconds until{0};
};
Result<CacheFilter> ParseCacheFilters(const std::vector<std::string>& texts);

// Rows of text in columns as wide as their widest cell; the first row is the heading.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);
// "3 minutes ago".
std::string FormatAge(nanoseconds age);
// "0.4s", "3m 12s", "2h 5m".
std::string FormatSpan(nanoseconds span);

}  // namespace kiln::cmd
