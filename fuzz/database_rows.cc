// Rows of a damaged store.db or cache.db. The first line says what is done with them: "cache",
// "use" (as a daemon would), or "mend" (what fsck has mended has nothing left to mend). Each other
// line is a row: the number of its table, then its values behind tabs: "i1" an integer, "xab01"
// bytes, "-" NULL, else a text.
#include <stdlib.h>

#include <array>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/strings.h"
#include "cachedb/check.h"
#include "cachedb/tables.h"
#include "store/fsck.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose

struct Table {
  const char* name;
  size_t columns;
  size_t added = 0;  // the last of them, which came after the corpus: 0 where a row does not say
};
// Those of the store, then those of the cache; their numbers are part of the corpus.
constexpr std::array kStoreTables = {
    Table{"meta", 2},        Table{"records", 18, 1}, Table{"record_inputs", 3},
    Table{"labels", 3},      Table{"blobs", 4},       Table{"blob_labels", 3},
    Table{"layer_blobs", 5}, Table{"locators", 4, 1}, Table{"pins", 3},
};
constexpr std::array kCacheTables = {
    Table{"texts", 2}, Table{"keys", 2},  Table{"links", 7},      Table{"records", 9},
    Table{"runs", 8},  Table{"parts", 4}, Table{"counter", 2, 1},
};

// A folder of this process's own, gone at the end; in memory where there is such a place.
struct Folder {
  Folder() { CHECK(mkdtemp(path.data()) != nullptr); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path = std::string(std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp") +
                     "/kiln-fuzz-XXXXXX";
};

using Rows = std::vector<std::vector<std::string_view>>;

template <typename Tables>
void Fill(store::SqliteConnection& db, const Tables& tables, const Rows& rows, size_t first) {
  CHECK(db.Exec("BEGIN").ok());
  for (const Table& table : tables) CHECK(db.Exec(fmt::format("DELETE FROM {}", table.name)).ok());
  for (const auto& row : rows) {
    const auto number = ParseUint(row[0]);
    if (!number || *number < first || *number >= first + tables.size()) continue;
    const Table& table = tables[*number - first];
    std::string sql = fmt::format("INSERT OR IGNORE INTO {} VALUES(?", table.name);
    for (size_t i = 1; i < table.columns; ++i) sql += ",?";
    auto insert = db.Prepare(sql + ")");
    CHECK(insert.ok());
    for (size_t i = 1; i <= table.columns; ++i) {
      const char* unsaid = i > table.columns - table.added ? "i0" : "-";
      const std::string_view value = i < row.size() ? row[i] : unsaid;
      if (value == "-") {
        insert->BindNull();
      } else if (value.starts_with('i')) {
        insert->Bind(ParseInt(value.substr(1)).value_or(0));
      } else if (value.starts_with('x')) {
        std::string bytes;
        for (size_t at = 1; at + 1 < value.size(); at += 2)
          bytes += static_cast<char>(ParseUint(value.substr(at, 2), 16).value_or(0));
        insert->BindBlob(bytes);
      } else {
        insert->Bind(value);
      }
    }
    (void)insert->Run();  // a column may say NOT NULL
  }
  CHECK(db.Exec("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").ok());
}

void UseSnapshot(store::Store& store, const store::SnapshotRef& ref) {
  (void)store.Info(ref);
  (void)store.IsLocal(ref);
  (void)store.KnownLayerBlobs(ref);
  (void)store.Label(ref, "l");
  (void)store.LayerDirs(ref);
  (void)store.EnsureLocal({}, ref);
  if (auto tree = store.Tree(ref); tree.ok()) (void)tree->Lookup("/a");
  (void)store.Merge(std::vector{ref, ref}, {});
}

void UseStore(const std::string& root, const Rows& rows) {
  store::StoreOptions options;
  options.root = root;
  options.snapshotter = "native";
  options.ballast_bytes = 0;
  options.sync_delay = std::chrono::hours(1);
  auto opened = store::Store::Open(options);
  if (!opened.ok()) return;
  store::Store& store = **opened;
  const auto ids = store.RecordIds();
  for (const std::string& id : ids.ok() ? *ids : std::set<std::string>()) {
    if (const auto ref = store.Claim(id); ref.ok()) UseSnapshot(store, *ref);
  }
  (void)store.FindByLabel("l", "v");
  std::array<uint8_t, Digest::kBytes> bytes;
  bytes.fill(0x11);
  const Digest digest(bytes);
  (void)store.FindByChain(digest);
  (void)store.StatBlob(digest);
  (void)store.GetBlob(digest);
  (void)store.AddDistributionSource(digest, "h", "r");
  for (const char* key : {"k", "n"}) {
    store::NamedDirOptions named;
    named.key = key;
    named.sharing = store::Sharing::kLocked;
    (void)store.OpenNamedDir({}, named);
  }
  (void)store.DiskUsage({"type==regular"}, std::chrono::nanoseconds(rows.size()));
  const std::vector<store::PruneRule> rules = {
      {.filters = {"id~=a"}, .keep_duration = std::chrono::hours(1)},
      {.all = true, .max_used_bytes = 100}};
  (void)store.Prune({}, rules, nullptr);
}

void UseCache(store::SqliteConnection& db, const Rows& rows) {
  cachedb::Tables tables(db);
  std::set<std::string> names = {"k"};
  for (const auto& row : rows) {
    if (row.size() > 2) names.emplace(row[2]);
  }
  for (const std::string& name : names) {
    (void)tables.Key(name);
    (void)tables.ParentsOf(name);
    (void)tables.Children({name, 0, "d", 0, ""});
    (void)tables.Record(name);
    (void)tables.MissesOf(name);
    (void)tables.RecordsOf(name);
  }
  (void)tables.Count();
  if (const auto seq = tables.NextSeq(); seq.ok()) {
    (void)tables.PutLink({{"k", 0, "d", 0, ""}, "c"}, *seq);
    (void)tables.AssertLink({{"k", 0, "d", 0, ""}, "c"}, *seq);
    solver::NewRecord record;
    record.key = "k";
    const auto id = tables.PutRecord(record, "a");
    solver::MissReport miss;
    miss.identity.kind = "t";
    miss.parts = {{"l", "v"}, {"d", "w"}};
    if (id.ok()) (void)tables.PutMiss(*id, miss);
    (void)tables.MissesOf("");
  }
  (void)cachedb::DropLost(db, {"a"});
}

void Cache(const Rows& rows) {
  static const auto cache = [] {
    auto db = store::SqliteConnection::Open(":memory:");
    CHECK(db.ok() && (*db)->Migrate(cachedb::Tables::Migrations()).ok());
    return *std::move(db);
  }();
  CHECK(cache->Exec("DELETE FROM sqlite_sequence").ok());  // the last id given
  Fill(*cache, kCacheTables, rows, kStoreTables.size());
  UseCache(*cache, rows);
}

void Mend(const std::string& root) {
  CHECK(store::Fsck({.root = root, .repair = true}).ok());
  const auto again = store::Fsck({.root = root});
  CHECK_MSG(again.ok() && again->findings.empty(),
            again.ok() ? again->findings.front() : again.error().ToString());
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  SetLogLevel(LogLevel::kError);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4000) return 0;
  static const Folder folder;
  const std::string root = folder.path + "/root";
  Rows rows;
  for (const std::string_view line :
       Split(std::string_view(reinterpret_cast<const char*>(data), size), '\n'))
    rows.push_back(Split(line, '\t'));

  const std::string_view mode = rows[0][0];
  if (mode == "cache") Cache(rows);
  if (mode != "use" && mode != "mend") return 0;
  static const bool made = store::Store::Open({.root = root, .ballast_bytes = 0}).ok();
  CHECK(made);
  {
    const auto db = store::SqliteConnection::Open(root + "/store.db");
    CHECK(db.ok());
    Fill(**db, kStoreTables, rows, 0);
  }
  if (mode == "mend") {
    Mend(root);
  } else {
    UseStore(root, rows);
  }
  return 0;
}
