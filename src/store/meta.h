#pragma once

#include <string>
#include <string_view>

#include "store/sqlite.h"

namespace kiln::store {

// The table of single values. "" if it is not set.
Result<std::string> GetMeta(SqliteConnection& db, std::string_view key);
Status SetMeta(SqliteConnection& db, std::string_view key, std::string_view value);

}  // namespace kiln::store
