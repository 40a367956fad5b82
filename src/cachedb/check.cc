#include "cachedb/check.h"

#include <sys/stat.h>

#include <cstdio>

#include "cachedb/tables.h"

namespace kiln::cachedb {
namespace {

bool Exists(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0;
}

struct Lost {
  int64_t id = 0;
  std::string store_id;
  std::string vertex;
};

Result<std::vector<Lost>> FindLost(store::SqliteConnection& db,
                                   const std::set<std::string>& store_ids) {
  std::vector<Lost> lost;
  TRY_ASSIGN(auto query, db.Prepare("SELECT id, store_id, vertex_name FROM records ORDER BY id"));
  while (true) {
    TRY_ASSIGN(const bool more, query.Step());
    if (!more) return lost;
    std::string store_id = query.Text(1);
    if (store_id.empty() || store_ids.contains(store_id)) continue;
    lost.push_back({query.Int(0), std::move(store_id), query.Text(2)});
  }
}

Status IsSound(store::SqliteConnection& db) {
  TRY_ASSIGN(auto quick, db.Prepare("PRAGMA quick_check"));
  TRY_ASSIGN(const bool row, quick.Step());
  if (row && quick.Text(0) == "ok") return OkStatus();
  return DataLoss("{}", row ? quick.Text(0) : "no answer");
}

}  // namespace

std::string MoveAside(const std::string& path) {
  int n = 1;
  while (Exists(path + ".damaged-" + std::to_string(n))) ++n;
  const std::string aside = path + ".damaged-" + std::to_string(n);
  for (const char* suffix : {"", "-wal", "-shm"})
    (void)std::rename((path + suffix).c_str(), (aside + suffix).c_str());
  return aside;
}

Result<size_t> DropLost(store::SqliteConnection& db, const std::set<std::string>& store_ids) {
  TRY_ASSIGN(const std::vector<Lost> lost, FindLost(db, store_ids));
  Tables tables(db);
  std::vector<int64_t> ids;
  for (const Lost& record : lost) ids.push_back(record.id);
  TRY(tables.DropRecords(ids));
  return lost.size();
}

Result<std::vector<std::string>> Check(const std::string& path,
                                       const std::set<std::string>& store_ids, bool repair) {
  std::vector<std::string> findings;
  if (!Exists(path)) return findings;
  auto db = store::SqliteConnection::Open(path);
  Status sound = db.ok() ? IsSound(**db) : Status(db.error());
  if (sound.ok()) sound = (*db)->Migrate(Tables::Migrations());
  if (!sound.ok()) {
    findings.push_back(fmt::format("cache.db: damaged: {}", sound.error().message()));
    if (db.ok()) db->reset();
    if (repair) (void)MoveAside(path);
    return findings;
  }
  TRY_ASSIGN(const std::vector<Lost> lost, FindLost(**db, store_ids));
  Tables tables(**db);
  for (const Lost& record : lost) {
    findings.push_back(fmt::format("cache.db: the result {} of {} is not in the store",
                                   record.store_id, record.vertex));
    if (repair) TRY(tables.DropRecords({record.id}));
  }
  return findings;
}

}  // namespace kiln::cachedb
