#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/rooted_path.h"

namespace kiln::executor {

struct UserIds {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> additional_gids;  // the primary one first
  bool operator==(const UserIds&) const = default;
};

// Who "U[:G]" is in that root. Both parts numeric (or "root"): nothing is looked up. Otherwise
// /etc/passwd and /etc/group are read (at most 10 MiB each, regular files inside the root); the
// first matching line counts; a numeric id needs no entry. Groups that list the user become
// additional ones unless a group is named. "" is root with its groups, whatever the files hold.
// InvalidArgument: `unable to find user X: no matching entries in passwd file`, `unable to find
// group X: no matching entries in group file`.
Result<UserIds> LookUpUser(const sys::RootedPath& root, const std::string& user);

}  // namespace kiln::executor
