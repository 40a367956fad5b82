#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "pb/ops.pb.h"
#include "store/tree.h"

namespace kiln::ops {

struct FileOwner {
  uint32_t uid = 0;
  uint32_t gid = 0;
  friend bool operator==(const FileOwner&, const FileOwner&) = default;
};

// Who the files of an action shall belong to. A user by id sets both ids, by name those of
// /etc/passwd in `users`; a group then overrides the second. A name that is not found, or a missing
// file, counts as 0.
Result<FileOwner> ResolveOwner(const pb::ChownOpt& owner, const store::TreeView& users,
                               const store::TreeView& groups);

}  // namespace kiln::ops
