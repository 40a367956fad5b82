// What follows a stop, clean or not.
#include "store/recover.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/log.h"
#include "base/strings.h"
#include "store/meta.h"

namespace kiln::store {

namespace {

constexpr int64_t kLayoutVersion = 1;

// "" if the system does not say.
std::string BootId(const std::string& file) {
  auto id = ReadFile(file, 128);
  if (id.ok()) return std::string(Trim(*id));
  LOG_WARNING(
      "which boot this is cannot be read, so a store that was not closed is taken as after a loss "
      "of power: {}",
      id.error());
  return "";
}

Result<int64_t> Number(SqliteConnection& db, std::string_view sql) {
  TRY_ASSIGN(SqliteStatement query, db.Prepare(sql));
  TRY_ASSIGN(const bool row, query.Step());
  return row ? query.Int(0) : 0;
}

Result<std::set<std::string>> TextSet(SqliteConnection& db, std::string_view sql) {
  TRY_ASSIGN(SqliteStatement query, db.Prepare(sql));
  std::set<std::string> values;
  while (true) {
    TRY_ASSIGN(const bool row, query.Step());
    if (!row) return values;
    values.insert(query.Text(0));
  }
}

// Of a row of records: its data can be had from a blob that is here, or that is known to lie
// elsewhere.
constexpr std::string_view kObtainable =
    "EXISTS(SELECT 1 FROM layer_blobs l WHERE l.record=num AND l.compression<16 AND "
    "(EXISTS(SELECT 1 FROM blobs b WHERE b.digest=l.digest) OR "
    "EXISTS(SELECT 1 FROM locators o WHERE o.digest=l.digest)))";

// Rows whose data may not have reached the disk before the power went. Blobs first: what could be
// unpacked from them is lost with them.
Status DropUnsynced(SqliteConnection& db, int64_t synced) {
  TRY_ASSIGN(SqliteStatement blobs, db.Prepare("DELETE FROM blobs WHERE seq>?"));
  TRY(blobs.Bind(synced).Run());
  TRY_ASSIGN(SqliteStatement lazy,
             db.Prepare(fmt::format("UPDATE records SET local=0, size=NULL WHERE seq>? AND kind=0 "
                                    "AND local=1 AND {}",
                                    kObtainable)));
  TRY(lazy.Bind(synced).Run());
  TRY_ASSIGN(SqliteStatement records,
             db.Prepare("DELETE FROM records WHERE seq>? AND (local=1 OR kind=3)"));
  return records.Bind(synced).Run();
}

// Everything that stands on something that is gone, until nothing does.
Status DropDangling(SqliteConnection& db) {
  TRY(db.Exec(fmt::format("DELETE FROM records WHERE kind=0 AND local=0 AND NOT {}", kObtainable)));
  while (true) {
    TRY(
        db.Exec("DELETE FROM records WHERE parent IS NOT NULL AND parent NOT IN (SELECT num FROM "
                "records)"));
    const int64_t children = db.changes();
    TRY(
        db.Exec("DELETE FROM records WHERE num IN (SELECT record FROM record_inputs WHERE input "
                "NOT IN (SELECT num FROM records))"));
    if (children + db.changes() == 0) break;
  }
  return db.Exec(
      "DELETE FROM record_inputs WHERE record NOT IN (SELECT num FROM records);"
      "DELETE FROM labels WHERE record NOT IN (SELECT num FROM records);"
      "DELETE FROM layer_blobs WHERE record NOT IN (SELECT num FROM records);"
      "DELETE FROM locators WHERE digest NOT IN (SELECT digest FROM layer_blobs) AND digest NOT IN "
      "(SELECT digest FROM blobs);"
      "DELETE FROM blob_labels WHERE digest NOT IN (SELECT digest FROM layer_blobs) AND digest NOT "
      "IN (SELECT digest FROM blobs);");
}

class Recovery {
 public:
  explicit Recovery(Root& root) : root_(root) {}

  Result<bool> Run() {
    TRY(root_.database().Write([&](SqliteConnection& db) -> Status {
      TRY(CheckLayout(db));
      TRY(DropLost(db));
      return TakeNumbers(db);
    }));
    if (recovered_) TRY(Sweep());
    for (const char* folder : {"/ingest", "/trash"}) {
      TRY_ASSIGN(const std::vector<std::string> names, NamesIn(root_.path() + folder));
      for (const std::string& name : names)
        root_.janitor().Delete(root_.path() + folder + "/" + name);
    }
    if (unsynced_) root_.janitor().WantSync();
    return recovered_;
  }

 private:
  Status CheckLayout(SqliteConnection& db) {
    TRY_ASSIGN(const std::string layout, GetMeta(db, "layout"));
    if (!layout.empty() && layout != std::to_string(kLayoutVersion)) {
      return FailedPrecondition("{}: layout version {} is not this program's {}", root_.path(),
                                layout, kLayoutVersion);
    }
    layout_ = layout;
    return SetMeta(db, "layout", std::to_string(kLayoutVersion));
  }

  Status DropLost(SqliteConnection& db) {
    TRY_ASSIGN(const std::string boot, GetMeta(db, "boot"));
    TRY_ASSIGN(const std::string open, GetMeta(db, "open"));
    TRY_ASSIGN(const std::string synced, GetMeta(db, "synced"));
    synced_ = ParseInt(synced).value_or(0);
    const std::string now = BootId(root_.options().boot_id_file);
    const bool known = !now.empty() && !boot.empty();
    rebooted_ = known ? boot != now : !layout_.empty() && open == "1";
    recovered_ = open == "1" || rebooted_;
    if (rebooted_) {
      TRY(DropUnsynced(db, synced_));
      // Which of them were being written may be told by rows that did not reach the disk.
      if (open == "1") {
        TRY_ASSIGN(SqliteStatement named,
                   db.Prepare("DELETE FROM records WHERE kind=3 AND type<>?"));
        TRY(named.Bind(kTypeCacheMount).Run());
      }
    }
    if (recovered_) {
      TRY(db.Exec("DELETE FROM records WHERE kind=3 AND dirty=1"));
      TRY(DropDangling(db));
    }
    TRY(SetMeta(db, "boot", now));
    return SetMeta(db, "open", "1");
  }

  // Numbers are not given twice: a row that comes back because its deletion did not reach the disk
  // must not find the data of another.
  Status TakeNumbers(SqliteConnection& db) {
    TRY_ASSIGN(const int64_t last_num,
               Number(db,
                      "SELECT max(coalesce((SELECT max(num) FROM records),0), coalesce((SELECT "
                      "CAST(value AS INTEGER) FROM meta WHERE key='num'),0))"));
    TRY_ASSIGN(const int64_t last_record, Number(db, "SELECT max(seq) FROM records"));
    TRY_ASSIGN(const int64_t last_blob, Number(db, "SELECT max(seq) FROM blobs"));
    const int64_t last_seq = std::max({last_record, last_blob, synced_});
    if (std::max(last_num, last_seq) >= INT64_MAX / 2)
      return DataLoss("the database is damaged: it has no numbers left");
    root_.SetNumbers(last_num + 1, last_seq + 1);
    unsynced_ = last_seq > synced_;
    return OkStatus();
  }

  // What belongs beside a committed snapshot stays; what a process was about to put there goes.
  // After a loss of power so does what may be there by name only, as all of it is made anew on
  // demand.
  void SweepSnapshot(const std::string& top) {
    const Result<std::vector<std::string>> names = NamesIn(top);
    if (!names.ok()) return;
    for (const std::string& name : *names) {
      const std::string path = top + "/" + name;
      struct stat st;
      const bool flat = name.starts_with("flat-");
      bool keep = name == "fs" || name == "links" || name == "linked" || (flat && !rebooted_);
      if (name == "index") keep = !rebooted_ || (lstat(path.c_str(), &st) == 0 && st.st_size > 0);
      if (!keep) root_.Trash(path);
    }
  }

  // Directories and blobs without a row, rows without their data.
  Status Sweep() {
    std::set<std::string> nums;
    std::set<std::string> local;
    std::set<std::string> digests;
    TRY(root_.database().Read([&](SqliteConnection& db) -> Status {
      TRY_ASSIGN(nums, TextSet(db, "SELECT CAST(num AS TEXT) FROM records"));
      TRY_ASSIGN(
          local,
          TextSet(db,
                  "SELECT CAST(num AS TEXT) FROM records WHERE kind=3 OR (kind=0 AND local=1)"));
      TRY_ASSIGN(digests, TextSet(db, "SELECT lower(hex(digest)) FROM blobs"));
      return OkStatus();
    }));
    TRY_ASSIGN(const std::vector<std::string> snapshots, NamesIn(root_.SnapshotDir()));
    for (const std::string& name : snapshots) {
      const std::string top = root_.SnapshotDir() + "/" + name;
      if (nums.contains(name)) {
        SweepSnapshot(top);
      } else {
        root_.Trash(top);
      }
      struct stat st;
      if (stat((top + "/fs").c_str(), &st) == 0) local.erase(name);
    }
    TRY_ASSIGN(const std::vector<std::string> files, NamesIn(root_.BlobDir()));
    for (const std::string& name : files) {
      if (!digests.contains(name)) (void)unlink((root_.BlobDir() + "/" + name).c_str());
      digests.erase(name);
    }
    if (local.empty() && digests.empty()) return OkStatus();
    return root_.database().Write([&](SqliteConnection& db) -> Status {
      for (const std::string& hex : digests)
        TRY(db.Exec(fmt::format("DELETE FROM blobs WHERE digest=x'{}'", hex)));
      for (const std::string& num : local) {
        TRY(
            db.Exec(fmt::format("UPDATE records SET local=0, size=NULL WHERE num={0} AND {1};"
                                "DELETE FROM records WHERE num={0} AND (local=1 OR kind=3)",
                                num, kObtainable)));
      }
      return DropDangling(db);
    });
  }

  Root& root_;
  std::string layout_;  // "" for a new store
  int64_t synced_ = 0;
  bool rebooted_ = false;
  bool recovered_ = false;
  bool unsynced_ = false;
};

}  // namespace

Result<bool> Recover(Root& root) { return Recovery(root).Run(); }

Status SweepOrphans(Root& root) {
  std::set<std::string> nums;
  std::set<std::string> digests;
  TRY(root.database().Scan([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(nums, TextSet(db, "SELECT CAST(num AS TEXT) FROM records"));
    TRY_ASSIGN(digests, TextSet(db, "SELECT lower(hex(digest)) FROM blobs"));
    return OkStatus();
  }));
  TRY_ASSIGN(const std::vector<std::string> snapshots, NamesIn(root.SnapshotDir()));
  for (const std::string& name : snapshots) {
    if (!nums.contains(name)) root.Trash(root.SnapshotDir() + "/" + name);
  }
  TRY_ASSIGN(const std::vector<std::string> files, NamesIn(root.BlobDir()));
  for (const std::string& name : files) {
    if (!digests.contains(name)) (void)unlink((root.BlobDir() + "/" + name).c_str());
  }
  return OkStatus();
}

}  // namespace kiln::store
