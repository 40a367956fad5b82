#pragma once

#include "store/sqlite.h"

namespace kiln::store {

// While it lives, a connection keeps all pages that it reads and changes: for transactions that
// touch much of a file, whose pages would else be written out and read again and again. 16 MiB at
// most, given back at the end.
class LargeCache {
 public:
  explicit LargeCache(SqliteConnection& db) : db_(db) {
    (void)db_.Exec("PRAGMA cache_size=-16384");
  }
  ~LargeCache() {
    (void)db_.Exec(std::string(kSmallCache));
    (void)db_.Exec("PRAGMA shrink_memory");
  }
  LargeCache(const LargeCache&) = delete;
  LargeCache& operator=(const LargeCache&) = delete;

 private:
  // As SqliteConnection::Open has it.
  static constexpr std::string_view kSmallCache = "PRAGMA cache_size=-512";

  SqliteConnection& db_;
};

}  // namespace kiln::store
