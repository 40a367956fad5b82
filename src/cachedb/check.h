#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/sqlite.h"

namespace kiln::cachedb {

// Moves a damaged database out of the way, with what SQLite keeps beside it; its name then.
std::string MoveAside(const std::string& path);

// Looks over a cache.db that nobody has open, whose store has the records `store_ids`: one line for
// each finding. With `repair` records of what is gone are dropped, and a damaged file is moved
// aside. No file is no finding.
Result<std::vector<std::string>> Check(const std::string& path,
                                       const std::set<std::string>& store_ids, bool repair);

// Drops the records of an open cache.db whose results are not among `store_ids`; how many.
Result<size_t> DropLost(store::SqliteConnection& db, const std::set<std::string>& store_ids);

}  // namespace kiln::cachedb
