#pragma once

#include <cstddef>

#include "store/sqlite.h"

namespace kiln::store {

inline constexpr const char* kUsualCache = "PRAGMA cache_size=-512";  // KiB

// For a transaction that touches much of a file, whose pages would else be written out and read
// again and again: while it lives, the connection keeps them in memory, 16 MiB at most. Given back
// at the end. Does nothing if so few rows change that the usual cache does.
class LargeCache {
 public:
  LargeCache(SqliteConnection& db, size_t changes) : db_(db), used_(changes >= kMany) {
    if (used_) (void)db_.Exec("PRAGMA cache_size=-16384");
  }
  ~LargeCache() {
    if (!used_) return;
    (void)db_.Exec(kUsualCache);
    (void)db_.Exec("PRAGMA shrink_memory");
  }
  LargeCache(const LargeCache&) = delete;
  LargeCache& operator=(const LargeCache&) = delete;

 private:
  static constexpr size_t kMany = 100;

  SqliteConnection& db_;
  const bool used_;
};

}  // namespace kiln::store
