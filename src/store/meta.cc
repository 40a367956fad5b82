#include "store/meta.h"

namespace kiln::store {

Result<std::string> GetMeta(SqliteConnection& db, std::string_view key) {
  TRY_ASSIGN(SqliteStatement query, db.Prepare("SELECT value FROM meta WHERE key=?"));
  TRY_ASSIGN(const bool row, query.Bind(key).Step());
  return row ? query.Text(0) : std::string();
}

Status SetMeta(SqliteConnection& db, std::string_view key, std::string_view value) {
  TRY_ASSIGN(SqliteStatement set, db.Prepare("INSERT OR REPLACE INTO meta(key,value) VALUES(?,?)"));
  return set.Bind(key).Bind(value).Run();
}

}  // namespace kiln::store
