#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "client/connection.h"
#include "progress/activity.h"

namespace kiln::client {

// The calls of Control that are no builds. All block, and end with the activity.

// One line of `du`.
struct UsageRecord {
  std::string id;
  std::string type;
  std::string description;
  std::vector<std::string> parents;
  uint64_t size_bytes = 0;
  bool is_mutable = false;
  bool in_use = false;
  bool shared = false;
  WallTime created;
  std::optional<WallTime> last_used;
  int64_t usage_count = 0;
};

struct PruneOptions {
  bool all = false;
  std::vector<std::string> filters;  // containerd's syntax; any may match
  std::chrono::nanoseconds keep_duration{0};
  uint64_t reserved_bytes = 0;
  uint64_t max_used_bytes = 0;
  uint64_t min_free_bytes = 0;
};

// `age_limit` 0: all; else those that were not used for so long.
Result<std::vector<UsageRecord>> DiskUsage(const Connection& connection,
                                           const std::vector<std::string>& filters,
                                           std::chrono::nanoseconds age_limit,
                                           const progress::Activity& activity);
// `pruned` is told about each record as it goes.
Status Prune(const Connection& connection, const PruneOptions& options,
             const std::function<void(const UsageRecord&)>& pruned,
             const progress::Activity& activity);

// A build of the history.
struct BuildRecord {
  std::string ref;
  std::map<std::string, std::string> frontend_attrs;
  std::vector<std::map<std::string, std::string>> outputs;  // attributes
  WallTime created;
  std::optional<WallTime> completed;  // none: under way
  std::string error;                  // "" if it went well
  int total_steps = 0;
  int cached_steps = 0;
  int completed_steps = 0;
  int warnings = 0;
};
// Builds under way, then those that have ended, the newest first; `filters` are those of
// ListenBuildHistory and hold for ended ones. `limit` 0: all.
Result<std::vector<BuildRecord>> ListBuilds(const Connection& connection,
                                            const std::vector<std::string>& filters, int limit,
                                            const progress::Activity& activity);

// Passes the progress of a build to the activity's sink: what was recorded, or what happens until
// its end.
Status ReadProgress(const Connection& connection, const std::string& ref,
                    const progress::Activity& activity);

}  // namespace kiln::client
