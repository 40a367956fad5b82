// Opening, closing and what follows a crash.
#include "store/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/log.h"
#include "base/strings.h"
#include "store/schema.h"
#include "store/store_impl.h"

namespace kiln::store {
namespace {

constexpr int64_t kLayoutVersion = 1;

Status MakeDir(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return OkStatus();
  return ErrnoError(errno, "create {}", path);
}

Status MakeRoot(const std::string& root) {
  for (size_t slash = root.find('/', 1); slash != root.npos; slash = root.find('/', slash + 1)) {
    TRY(MakeDir(root.substr(0, slash), 0755));
  }
  TRY(MakeDir(root, 0711));
  for (const char* name : {"/blobs", "/blobs/sha256", "/snapshots", "/ingest", "/trash"}) {
    TRY(MakeDir(root + name, 0700));
  }
  return OkStatus();
}

std::string BootId() {
  auto id = ReadFile("/proc/sys/kernel/random/boot_id", 128);
  return id.ok() ? std::string(Trim(*id)) : "unknown";
}

Result<std::string> Meta(SqliteConnection& db, std::string_view key) {
  TRY_ASSIGN(SqliteStatement query, db.Prepare("SELECT value FROM meta WHERE key=?"));
  TRY_ASSIGN(const bool row, query.Bind(key).Step());
  return row ? query.Text(0) : std::string();
}

Status SetMeta(SqliteConnection& db, std::string_view key, std::string_view value) {
  TRY_ASSIGN(SqliteStatement set, db.Prepare("INSERT OR REPLACE INTO meta(key,value) VALUES(?,?)"));
  return set.Bind(key).Bind(value).Run();
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

Result<std::vector<std::string>> Names(const std::string& directory) {
  TRY_ASSIGN(const Fd fd, OpenFile(directory, O_RDONLY | O_DIRECTORY));
  TRY_ASSIGN(const std::vector<sys::DirEntry> entries, sys::ReadDir(fd.get()));
  std::vector<std::string> names;
  for (const sys::DirEntry& entry : entries) names.push_back(entry.name);
  return names;
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
      "DELETE FROM layer_blobs WHERE record NOT IN (SELECT num FROM records);");
}

}  // namespace

SnapshotDirs Store::Impl::DirsOf(int64_t num) const {
  SnapshotDirs dirs;
  dirs.top = fmt::format("{}/snapshots/{}", root, num);
  dirs.fs = dirs.top + "/fs";
  dirs.work = dirs.top + "/work";
  dirs.tree = dirs.top + "/tree";
  dirs.index = dirs.top + "/index";
  dirs.links = dirs.top + "/links";
  return dirs;
}

void Store::Impl::Trash(const std::string& path) {
  std::string grave = root + "/trash/" + NewId();
  if (rename(path.c_str(), grave.c_str()) == 0) {
    janitor->Delete(std::move(grave));
  } else if (errno != ENOENT) {
    LOG_WARNING("{}", ErrnoError(errno, "moving {} to trash", path));
  }
}

// Bytes given up when the disk is full, so that collection can write its rows.
Status Store::Impl::MakeBallast() const {
  if (options.ballast_bytes == 0) return OkStatus();
  const std::string path = root + "/ballast";
  struct stat st;
  if (stat(path.c_str(), &st) == 0 && static_cast<uint64_t>(st.st_size) == options.ballast_bytes)
    return OkStatus();
  TRY_ASSIGN(const Fd fd, OpenFile(path, O_WRONLY | O_CREAT, 0600));
  const int failed = posix_fallocate(fd.get(), 0, static_cast<off_t>(options.ballast_bytes));
  if (failed != 0)
    LOG_WARNING("{}", ErrnoError(failed, "reserving {} bytes in {}", options.ballast_bytes, path));
  return OkStatus();
}

Status Store::Impl::OpenRoot() {
  TRY(MakeRoot(root));
  TRY_ASSIGN(lock, OpenFile(root + "/lock", O_RDWR | O_CREAT, 0600));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Unavailable("{} is in use by another process", root);
    return ErrnoError(errno, "lock {}", root);
  }
  TRY_ASSIGN(root_dir, OpenFile(root, O_RDONLY | O_DIRECTORY));
  TRY_ASSIGN(database, Database::Open(root + "/store.db", kStoreMigrations));
  blobs = std::make_unique<BlobStore>(BlobStore::Paths{root + "/blobs/sha256", root + "/ingest"},
                                      database.get(), clock, [this] { return NextSeq(); });
  indexes = std::make_unique<IndexCache>(options.index_memory_bytes);
  fetch_pool = std::make_unique<WorkerPool>("store-fetch", 8);
  const size_t cores = std::max(1U, std::thread::hardware_concurrency());
  cpu_pool = std::make_unique<WorkerPool>("store-cpu", cores + 1);
  TRY_ASSIGN(janitor, Janitor::Start([this] { Sync(); }, options.sync_delay));
  TRY(Recover());
  return MakeBallast();
}

// The data first, then the mark that says so.
void Store::Impl::Sync() {
  const int64_t upto = next_seq.load() - 1;
  // Rows below `upto` may still be in the writer's queue; the mark is written behind them.
  if (syncfs(root_dir.get()) != 0) {
    LOG_WARNING("{}", ErrnoError(errno, "syncing {}", root));
    return;
  }
  database->WriteLater(
      [upto](SqliteConnection& db) { return SetMeta(db, "synced", std::to_string(upto)); });
}

Status Store::Impl::MakeOpenDurable() {
  MutexLock guard(open_mutex);
  if (open_is_durable) return OkStatus();
  TRY_ASSIGN(const Fd log, OpenFile(root + "/store.db-wal", O_RDONLY));
  if (fdatasync(log.get()) != 0) return ErrnoError(errno, "sync {}/store.db-wal", root);
  open_is_durable = true;
  return OkStatus();
}

Status Store::Impl::Recover() {
  bool rebooted = false;
  int64_t unsynced = 0;
  TRY(database->Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(const std::string layout, Meta(db, "layout"));
    if (!layout.empty() && layout != std::to_string(kLayoutVersion)) {
      return FailedPrecondition("{}: layout version {} is not this program's {}", root, layout,
                                kLayoutVersion);
    }
    TRY_ASSIGN(const std::string boot, Meta(db, "boot"));
    TRY_ASSIGN(const std::string open, Meta(db, "open"));
    TRY_ASSIGN(const std::string synced_text, Meta(db, "synced"));
    const int64_t synced = ParseInt(synced_text).value_or(0);
    const std::string now = BootId();
    rebooted = !boot.empty() && boot != now;
    recovered = open == "1" || rebooted;
    if (rebooted) {
      TRY(DropUnsynced(db, synced));
      // Which of them were being written may be told by rows that did not reach the disk.
      if (open == "1") {
        TRY_ASSIGN(SqliteStatement named,
                   db.Prepare("DELETE FROM records WHERE kind=3 AND type<>?"));
        TRY(named.Bind(kTypeCacheMount).Run());
      }
    }
    if (recovered) {
      TRY(db.Exec("DELETE FROM records WHERE kind=3 AND dirty=1"));
      TRY(DropDangling(db));
    }
    TRY(SetMeta(db, "layout", std::to_string(kLayoutVersion)));
    TRY(SetMeta(db, "boot", now));
    TRY(SetMeta(db, "open", "1"));
    // Numbers are not given twice: a row that comes back because its deletion did not reach the
    // disk must not find the data of another.
    TRY_ASSIGN(const int64_t last_num,
               Number(db,
                      "SELECT max(coalesce((SELECT max(num) FROM records),0), coalesce((SELECT "
                      "CAST(value AS INTEGER) FROM meta WHERE key='num'),0))"));
    TRY_ASSIGN(const int64_t last_record, Number(db, "SELECT max(seq) FROM records"));
    TRY_ASSIGN(const int64_t last_blob, Number(db, "SELECT max(seq) FROM blobs"));
    const int64_t last_seq = std::max({last_record, last_blob, synced});
    if (std::max(last_num, last_seq) >= INT64_MAX / 2)
      return DataLoss("the database is damaged: it has no numbers left");
    next_num = last_num + 1;
    next_seq = last_seq + 1;
    unsynced = next_seq - 1 - synced;
    return OkStatus();
  }));
  if (recovered) {
    TRY(SweepOrphans(rebooted));
  }
  for (const char* folder : {"/ingest", "/trash"}) {
    TRY_ASSIGN(const std::vector<std::string> names, Names(root + folder));
    for (const std::string& name : names) janitor->Delete(root + folder + "/" + name);
  }
  if (unsynced > 0) janitor->WantSync();
  return OkStatus();
}

// What belongs beside a committed snapshot stays; what a process was about to put there goes. After
// a loss of power so does what may be there by name only, as all of it is made anew on demand.
void Store::Impl::SweepSnapshot(const std::string& top, bool rebooted) {
  const Result<std::vector<std::string>> names = Names(top);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    const std::string path = top + "/" + name;
    struct stat st;
    const bool flat = name.starts_with("flat-");
    bool keep = name == "fs" || name == "links" || (flat && !rebooted);
    if (name == "index") keep = !rebooted || (lstat(path.c_str(), &st) == 0 && st.st_size > 0);
    if (!keep) Trash(path);
  }
}

// Directories and blobs without a row, rows without their data.
Status Store::Impl::SweepOrphans(bool rebooted) {
  std::set<std::string> nums;
  std::set<std::string> local;
  std::set<std::string> digests;
  TRY(database->Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(nums, TextSet(db, "SELECT CAST(num AS TEXT) FROM records"));
    TRY_ASSIGN(
        local,
        TextSet(db, "SELECT CAST(num AS TEXT) FROM records WHERE kind=3 OR (kind=0 AND local=1)"));
    TRY_ASSIGN(digests, TextSet(db, "SELECT lower(hex(digest)) FROM blobs"));
    return OkStatus();
  }));
  TRY_ASSIGN(const std::vector<std::string> snapshots, Names(root + "/snapshots"));
  for (const std::string& name : snapshots) {
    const std::string top = root + "/snapshots/" + name;
    if (nums.contains(name)) {
      SweepSnapshot(top, rebooted);
    } else {
      Trash(top);
    }
    struct stat st;
    if (stat((top + "/fs").c_str(), &st) == 0) local.erase(name);
  }
  TRY_ASSIGN(const std::vector<std::string> files, Names(root + "/blobs/sha256"));
  for (const std::string& name : files) {
    if (!digests.contains(name)) (void)unlink((root + "/blobs/sha256/" + name).c_str());
    digests.erase(name);
  }
  if (local.empty() && digests.empty()) return OkStatus();
  return database->Write([&](SqliteConnection& db) -> Status {
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

Result<std::unique_ptr<Store>> Store::Open(StoreOptions options) {
  const bool native = options.snapshotter == "native";
  if (!native && options.snapshotter != "overlayfs" && options.snapshotter != "auto") {
    return InvalidArgument("unknown snapshotter name: {}", Quoted(options.snapshotter));
  }
  if (!options.root.starts_with('/'))
    return InvalidArgument("store root {} is not an absolute path", Quoted(options.root));
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  impl->root = impl->options.root;
  while (impl->root.size() > 1 && impl->root.ends_with('/')) impl->root.pop_back();
  impl->clock = impl->options.clock != nullptr ? impl->options.clock : &impl->system_clock;
  OverlayOptions overlay;
  overlay.userxattr = impl->options.rootless;
  overlay.max_layers = impl->options.max_mount_layers;
  impl->snapshotter = native ? MakeNativeSnapshotter() : MakeOverlaySnapshotter(overlay);
  Status opened = impl->OpenRoot();
  if (!opened.ok()) {
    impl->Close();
    return std::move(opened.error().AddContext("opening the store"));
  }
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

// Directories that their last holder left dirty and could not remove, on a full disk.
static void RemoveDirty(Store::Impl& store) {
  std::set<std::string> nums;
  const Status read = store.database->Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(nums, TextSet(db, "SELECT CAST(num AS TEXT) FROM records WHERE kind=3 AND dirty=1"));
    return OkStatus();
  });
  if (!read.ok() || nums.empty()) return;
  for (const std::string& num : nums) {
    if (auto removed = store.Remove(*ParseInt(num)); !removed.ok())
      LOG_WARNING("removing directory {}: {}", num, removed.error());
  }
  store.janitor->Drain();
}

void Store::Impl::Close() {
  if (database != nullptr && janitor != nullptr) RemoveDirty(*this);
  if (indexes != nullptr) indexes->Trim(true);
  fetch_pool.reset();
  cpu_pool.reset();
  janitor.reset();
  if (database != nullptr && next_num > 1) {
    database->WriteLater([](SqliteConnection& db) { return SetMeta(db, "open", "0"); });
  }
  blobs.reset();
  database.reset();
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Store::~Store() { impl_->Close(); }

const std::string& Store::root() const { return impl_->root; }
bool Store::recovered() const { return impl_->recovered; }

Result<std::set<std::string>> Store::RecordIds() {
  std::set<std::string> ids;
  TRY(impl_->database->Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(ids, TextSet(db, "SELECT id FROM records"));
    return OkStatus();
  }));
  return ids;
}

// --- Blobs
// ---------------------------------------------------------------------------------------------------------------
Result<BlobWriter> Store::Ingest() { return impl_->blobs->Ingest(); }

Result<BlobRef> Store::PutBlob(std::string_view data, std::optional<Digest> expected) {
  const Digest digest = Sha256Of(data);
  if (expected && *expected != digest)
    return DataLoss("unexpected content: digest is {}, expected {}", digest, *expected);
  if (auto existing = impl_->blobs->Get(digest); existing.ok()) return existing;
  TRY_ASSIGN(BlobWriter writer, Ingest());
  TRY(writer.Write(data));
  auto ref = writer.Commit();
  impl_->janitor->WantSync();
  return ref;
}

Result<BlobRef> Store::GetBlob(const Digest& digest) { return impl_->blobs->Get(digest); }
Result<BlobInfo> Store::StatBlob(const Digest& digest) { return impl_->blobs->Stat(digest); }
Result<std::vector<Digest>> Store::ListBlobs() { return impl_->blobs->List(); }

Status Store::SetBlobLabels(const Digest& digest,
                            const std::map<std::string, std::string>& labels) {
  return impl_->blobs->SetLabels(digest, labels);
}

Status Store::AddDistributionSource(const Digest& digest, std::string_view host,
                                    std::string_view repository) {
  return impl_->blobs->AddSource(digest, host, repository);
}

Status Store::PinBlob(const Digest& digest, const std::string& owner,
                      std::optional<WallTime> until) {
  return impl_->blobs->Pin(digest, owner, until);
}

Status Store::UnpinBlobs(const std::string& owner) { return impl_->blobs->Unpin(owner); }

void Store::AddBlobSource(std::string kind, BlobSource* source) {
  impl_->blob_sources[std::move(kind)] = source;
}

void Store::OnCollected(std::function<void(std::span<const std::string>)> callback) {
  impl_->on_collected = std::move(callback);
}

void Store::Trim() { impl_->indexes->Trim(false); }

}  // namespace kiln::store
