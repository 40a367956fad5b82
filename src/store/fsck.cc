#include "store/fsck.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "store/layer_tree.h"
#include "store/record.h"
#include "store/schema.h"
#include "store/sqlite.h"

namespace kiln::store {
namespace {

constexpr size_t kReadBytes = 1 << 20;

bool Exists(const std::string& path) {
  struct stat st;
  return lstat(path.c_str(), &st) == 0;
}

Result<std::vector<std::string>> Names(const std::string& directory) {
  if (!Exists(directory)) return std::vector<std::string>();
  TRY_ASSIGN(const Fd fd, OpenFile(directory, O_RDONLY | O_DIRECTORY));
  TRY_ASSIGN(const std::vector<sys::DirEntry> entries, sys::ReadDir(fd.get()));
  std::vector<std::string> names;
  for (const sys::DirEntry& entry : entries) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  return names;
}

Result<Digest> DigestOfFile(const std::string& path) {
  TRY_ASSIGN(const Fd fd, OpenFile(path, O_RDONLY));
  std::vector<char> buffer(kReadBytes);
  Sha256 hash;
  while (true) {
    TRY_ASSIGN(const size_t count, ReadSome(fd.get(), buffer.data(), buffer.size()));
    if (count == 0) return hash.Finish();
    hash.Update({buffer.data(), count});
  }
}

struct Row {
  std::string id;
  RecordKind kind = RecordKind::kLayer;
  int64_t parent = 0;
  bool local = false;
  bool dirty = false;
  std::vector<int64_t> inputs;
  bool has_blob = false;  // one that is here, or that is known to lie somewhere
};

class Checker {
 public:
  explicit Checker(const FsckOptions& options) : options_(options), root_(options.root) {}

  Result<FsckReport> Run() {
    if (!Exists(root_ + "/store.db")) return NotFound("{}: no store is there", root_);
    TRY_ASSIGN(const Fd lock, OpenFile(root_ + "/lock", O_RDWR | O_CREAT, 0600));
    if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return Unavailable("{} is in use by another process", root_);
      return ErrnoError(errno, "lock {}", root_);
    }
    TRY_ASSIGN(const bool readable, OpenDatabase());
    if (!readable) return std::move(report_);
    TRY(Read());
    TRY(CheckBlobs());
    TRY(CheckRecords());
    TRY(CheckDirectories());
    TRY(CheckLeftovers());
    for (const auto& [num, row] : rows_) report_.record_ids.insert(row.id);
    return std::move(report_);
  }

 private:
  template <typename... Args>
  void Found(fmt::format_string<Args...> text, Args&&... args) {
    report_.findings.push_back(fmt::format(text, std::forward<Args>(args)...));
  }

  // A damaged database says nothing about the files: with it aside, the next start sweeps them.
  Result<bool> OpenDatabase() {
    auto opened = SqliteConnection::Open(root_ + "/store.db");
    std::string wrong;
    if (opened.ok()) {
      db_ = std::move(*opened);
      auto quick = db_->Prepare("PRAGMA quick_check");
      auto row = quick.ok() ? quick->Step() : Result<bool>(quick.error());
      if (row.ok() && *row && quick->Text(0) == "ok") {
        TRY(db_->Migrate(kStoreMigrations));
        return true;
      }
      wrong = !row.ok() ? row.error().message() : *row ? quick->Text(0) : "no answer";
    } else {
      if (opened.error().code() != Code::kDataLoss) return std::move(opened).error();
      wrong = opened.error().message();
    }
    Found("store.db: damaged: {}", wrong);
    db_.reset();
    report_.readable = options_.repair;
    if (!options_.repair) return false;
    std::string aside;
    for (int n = 1; aside.empty() || Exists(aside); ++n)
      aside = fmt::format("{}/store.db.damaged-{}", root_, n);
    for (const char* suffix : {"", "-wal", "-shm"})
      (void)rename((root_ + "/store.db" + suffix).c_str(), (aside + suffix).c_str());
    for (const char* folder : {"/snapshots", "/blobs/sha256"}) {
      TRY_ASSIGN(const std::vector<std::string> names, Names(root_ + folder));
      for (const std::string& name : names) TRY(Erase(root_ + folder + "/" + name));
    }
    TRY_ASSIGN(db_, SqliteConnection::Open(root_ + "/store.db"));
    TRY(db_->Migrate(kStoreMigrations));
    return true;
  }

  Status Read() {
    {
      TRY_ASSIGN(SqliteStatement query,
                 db_->Prepare("SELECT num,id,kind,parent,local,dirty FROM records ORDER BY num"));
      while (true) {
        TRY_ASSIGN(const bool more, query.Step());
        if (!more) break;
        Row row;
        row.id = query.Text(1);
        row.kind = static_cast<RecordKind>(query.Int(2));
        row.parent = query.Int(3);
        row.local = query.Int(4) != 0;
        row.dirty = query.Int(5) != 0;
        rows_.emplace(query.Int(0), std::move(row));
      }
    }
    TRY_ASSIGN(SqliteStatement inputs,
               db_->Prepare("SELECT record,input FROM record_inputs ORDER BY record,position"));
    while (true) {
      TRY_ASSIGN(const bool more, inputs.Step());
      if (!more) break;
      if (const auto row = rows_.find(inputs.Int(0)); row != rows_.end())
        row->second.inputs.push_back(inputs.Int(1));
    }
    return OkStatus();
  }

  // Rows whose digest is none could not even be named.
  Status CheckDigests() {
    constexpr std::string_view kNone =
        "typeof(digest)<>'blob' OR length(digest)<>32 OR digest=zeroblob(32)";
    for (const char* table : {"blobs", "layer_blobs"}) {
      int64_t rows = 0;
      {
        TRY_ASSIGN(SqliteStatement query,
                   db_->Prepare(fmt::format("SELECT count(*) FROM {} WHERE {}", table, kNone)));
        TRY(query.Step());
        rows = query.Int(0);
      }
      if (rows == 0) continue;
      Found("{}: {} rows without a digest", table, rows);
      if (options_.repair) TRY(db_->Exec(fmt::format("DELETE FROM {} WHERE {}", table, kNone)));
    }
    return OkStatus();
  }

  Status CheckBlobs() {
    TRY(CheckDigests());
    std::map<Digest, int64_t> known;
    {
      TRY_ASSIGN(SqliteStatement query, db_->Prepare("SELECT digest,size FROM blobs"));
      while (true) {
        TRY_ASSIGN(const bool more, query.Step());
        if (!more) break;
        known.emplace(query.DigestAt(0), query.Int(1));
      }
    }
    for (const auto& [digest, size] : known) {
      const std::string path = root_ + "/blobs/sha256/" + digest.hex();
      struct stat st;
      if (stat(path.c_str(), &st) != 0) {
        Found("blob {}: its file is missing", digest);
      } else if (st.st_size != size) {
        Found("blob {}: its file has {} bytes, not {}", digest, st.st_size, size);
      } else {
        auto real = DigestOfFile(path);
        if (real.ok() && *real == digest) continue;
        if (real.ok()) {
          Found("blob {}: its file has the digest {}", digest, *real);
        } else {
          Found("blob {}: {}", digest, real.error().message());
        }
      }
      if (!options_.repair) continue;
      TRY(Erase(path));
      TRY_ASSIGN(SqliteStatement erase, db_->Prepare("DELETE FROM blobs WHERE digest=?"));
      TRY(erase.Bind(digest).Run());
    }
    TRY_ASSIGN(const std::vector<std::string> names, Names(root_ + "/blobs/sha256"));
    for (const std::string& name : names) {
      auto digest = Digest::Parse("sha256:" + name);
      if (digest.ok() && known.contains(*digest)) continue;
      Found("blobs/sha256/{}: no row knows it", name);
      if (options_.repair) TRY(Erase(root_ + "/blobs/sha256/" + name));
    }
    return OkStatus();
  }

  // What can be fetched or unpacked again is no loss.
  Status FindBlobs() {
    TRY_ASSIGN(SqliteStatement query,
               db_->Prepare("SELECT DISTINCT record FROM layer_blobs l WHERE "
                            "EXISTS(SELECT 1 FROM blobs b WHERE b.digest=l.digest) OR "
                            "EXISTS(SELECT 1 FROM locators o WHERE o.digest=l.digest)"));
    while (true) {
      TRY_ASSIGN(const bool more, query.Step());
      if (!more) return OkStatus();
      if (const auto row = rows_.find(query.Int(0)); row != rows_.end())
        row->second.has_blob = true;
    }
  }

  std::string DirOf(int64_t num) const { return fmt::format("{}/snapshots/{}", root_, num); }

  // "" if the record is whole. `lazy`: its data can be had again.
  std::string Wrong(int64_t num, const Row& row, bool* lazy) const {
    const bool needs_directory =
        row.kind == RecordKind::kNamed || (row.kind == RecordKind::kLayer && row.local);
    if (row.kind < RecordKind::kLayer || row.kind > RecordKind::kNamed) return "of an unknown kind";
    if (row.parent != 0 && (row.parent >= num || !rows_.contains(row.parent)))
      return fmt::format("its parent {} is not there", row.parent);
    for (const int64_t input : row.inputs) {
      if (input >= num || !rows_.contains(input))
        return fmt::format("its input {} is not there", input);
    }
    if ((row.kind == RecordKind::kMerge || row.kind == RecordKind::kReused) && row.inputs.empty())
      return "it has no inputs";
    struct stat st;
    if (needs_directory &&
        (lstat((DirOf(num) + "/fs").c_str(), &st) != 0 || !S_ISDIR(st.st_mode))) {
      *lazy = row.kind == RecordKind::kLayer && row.has_blob;
      return fmt::format("its directory snapshots/{}/fs is missing", num);
    }
    if (row.kind == RecordKind::kLayer && !row.local && !row.has_blob)
      return "it is not unpacked, and its blob is neither here nor known elsewhere";
    if (row.kind == RecordKind::kNamed && row.dirty)
      return fmt::format("its directory snapshots/{} was being written when the process ended",
                         num);
    return "";
  }

  // In the order of their numbers what something stands on comes first, and may be gone by then.
  Status CheckRecords() {
    TRY(FindBlobs());
    for (auto at = rows_.begin(); at != rows_.end();) {
      bool lazy = false;
      const std::string wrong = Wrong(at->first, at->second, &lazy);
      if (wrong.empty()) {
        CheckIndex(at->first);
        ++at;
        continue;
      }
      const std::string kind = at->second.kind == RecordKind::kNamed ? "directory" : "record";
      Found("{} {}: {}", kind, at->second.id, wrong);
      if (!options_.repair) {
        ++at;
        continue;
      }
      if (lazy) {
        TRY(db_->Exec(
            fmt::format("UPDATE records SET local=0, size=NULL WHERE num={}", at->first)));
        ++at;
        continue;
      }
      for (std::string_view sql :
           {"DELETE FROM record_inputs WHERE record={}", "DELETE FROM labels WHERE record={}",
            "DELETE FROM layer_blobs WHERE record={}", "DELETE FROM records WHERE num={}"}) {
        TRY(db_->Exec(fmt::format(fmt::runtime(sql), at->first)));
      }
      TRY(Erase(DirOf(at->first)));
      at = rows_.erase(at);
    }
    return OkStatus();
  }

  // A bad index is read anew by itself; it is told because something wrote it.
  void CheckIndex(int64_t num) {
    const std::string index = DirOf(num) + "/index";
    if (!Exists(index)) return;
    auto directory = sys::RootedPath::Open(DirOf(num) + "/fs");
    if (!directory.ok()) return;
    auto loaded = LayerTree::Load(std::move(*directory), index);
    if (loaded.ok()) return;
    Found("snapshots/{}/index: {}", num, loaded.error().message());
    if (options_.repair) (void)unlink(index.c_str());
  }

  Status CheckDirectories() {
    TRY_ASSIGN(const std::vector<std::string> names, Names(root_ + "/snapshots"));
    for (const std::string& name : names) {
      const auto num = ParseInt(name);
      if (num && rows_.contains(*num)) continue;
      Found("snapshots/{}: no row knows it", name);
      if (options_.repair) TRY(Erase(root_ + "/snapshots/" + name));
    }
    return OkStatus();
  }

  Status CheckLeftovers() {
    for (const std::string folder : {"ingest", "trash"}) {
      TRY_ASSIGN(const std::vector<std::string> names, Names(root_ + "/" + folder));
      for (const std::string& name : names) {
        Found("{}/{}: left by a process that ended", folder, name);
        if (options_.repair) TRY(Erase(root_ + "/" + folder + "/" + name));
      }
    }
    return OkStatus();
  }

  static Status Erase(const std::string& path) {
    if (!Exists(path)) return OkStatus();
    struct stat st;
    if (lstat(path.c_str(), &st) == 0 && !S_ISDIR(st.st_mode)) {
      if (unlink(path.c_str()) != 0) return ErrnoError(errno, "remove {}", path);
      return OkStatus();
    }
    return sys::RemoveTree(path);
  }

  const FsckOptions options_;
  const std::string root_;
  std::unique_ptr<SqliteConnection> db_;
  std::map<int64_t, Row> rows_;
  FsckReport report_;
};

}  // namespace

Result<FsckReport> Fsck(const FsckOptions& options) { return Checker(options).Run(); }

}  // namespace kiln::store
