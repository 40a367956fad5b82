#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "history/history.h"

namespace kiln::history {

// "running", "completed", "error" or "canceled".
std::string StatusOf(const Record& record);
// Where a build's sources come from, if that is a repository.
std::string RepositoryOf(const Record& record);

// The records that match (ListenBuildHistory's filters): each expression is a list of terms that
// must all hold, one of the expressions must. Terms: `startedAt` and `completedAt` with >=, <=, >,
// < and a duration (so long ago) or an RFC 3339 time, `duration` with a duration, and containerd's
// on `ref`, `status`, `repository`.
Result<std::vector<Record>> Matching(std::vector<Record> records,
                                     const std::vector<std::string>& expressions, WallTime now);

}  // namespace kiln::history
