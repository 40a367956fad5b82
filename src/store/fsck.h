#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"

namespace kiln::store {

struct FsckOptions {
  std::string root;
  bool repair = false;  // drop what is broken, and what stands on it
};

struct FsckReport {
  std::vector<std::string> findings;  // one line each: what, and what is wrong with it
  bool readable = true;               // false: the database is damaged, and was left so
  std::set<std::string> record_ids;   // of the records that are there (after the repair)
};

// Looks over a store nobody has open (Unavailable if a process holds its lock): the database, every
// blob's bytes, rows against files both ways, what records stand on, layer indexes, what a process
// that died left. NotFound if there is no store at the root. Reads all blobs.
Result<FsckReport> Fsck(const FsckOptions& options);

}  // namespace kiln::store
