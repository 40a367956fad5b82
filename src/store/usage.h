#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace kiln::store {

// Record types as clients see them.
inline constexpr std::string_view kTypeRegular = "regular";
inline constexpr std::string_view kTypeInternal = "internal";
inline constexpr std::string_view kTypeFrontend = "frontend";
inline constexpr std::string_view kTypeLocalSource = "source.local";
inline constexpr std::string_view kTypeGitCheckout = "source.git.checkout";
inline constexpr std::string_view kTypeCacheMount = "exec.cachemount";

// One line of `du`. Sizes add up to what removing every record would free.
struct UsageRecord {
  std::string id;
  bool is_mutable = false;
  bool in_use = false;
  bool shared = false;
  uint64_t size_bytes = 0;
  std::vector<std::string> parents;
  WallTime created;
  std::optional<WallTime> last_used;  // nullopt: never
  int64_t usage_count = 0;
  std::string description;
  std::string type;
};

// One collection rule, as daemon-executor §9.3 describes. Sizes of 0 mean "not set"; all three 0:
// no cap, everything eligible goes.
struct PruneRule {
  bool all = false;  // also internal and frontend records
  std::vector<std::string>
      filters;  // containerd syntax (base/filter.h); any may match; none or "" matches all
  std::chrono::nanoseconds keep_duration{0};
  uint64_t reserved_bytes = 0;
  uint64_t max_used_bytes = 0;
  uint64_t min_free_bytes = 0;
};

// Told about each record once it is gone. Called on the pruning thread with no lock held: it may be
// slow.
using PrunedFn = std::function<void(const UsageRecord&)>;

}  // namespace kiln::store
