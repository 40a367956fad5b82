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

// Rows whose data may not have reached the disk before the power went, and rows without data.
Status DropUnsynced(SqliteConnection& db, int64_t synced) {
  TRY_ASSIGN(
      SqliteStatement lazy,
      db.Prepare("UPDATE records SET local=0 WHERE seq>? AND kind=0 AND local=1 AND "
                 "EXISTS(SELECT 1 FROM layer_blobs l WHERE l.record=num AND l.compression<16)"));
  TRY(lazy.Bind(synced).Run());
  TRY_ASSIGN(SqliteStatement records,
             db.Prepare("DELETE FROM records WHERE seq>? AND (local=1 OR kind=3)"));
  TRY(records.Bind(synced).Run());
  TRY_ASSIGN(SqliteStatement blobs, db.Prepare("DELETE FROM blobs WHERE seq>?"));
  return blobs.Bind(synced).Run();
}

// Everything that stands on something that is gone, until nothing does.
Status DropDangling(SqliteConnection& db) {
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
  janitor = std::make_unique<Janitor>([this] { Sync(); }, options.sync_delay);
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

Status Store::Impl::Recover() {
  bool sweep_all = false;
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
    const bool rebooted = !boot.empty() && boot != now;
    sweep_all = open == "1" || rebooted;
    if (rebooted) {
      TRY(DropUnsynced(db, synced));
    }
    if (sweep_all) {
      TRY(db.Exec("DELETE FROM records WHERE kind=3 AND dirty=1"));
      TRY(DropDangling(db));
    }
    TRY(SetMeta(db, "layout", std::to_string(kLayoutVersion)));
    TRY(SetMeta(db, "boot", now));
    TRY(SetMeta(db, "open", "1"));
    TRY_ASSIGN(const int64_t last_num, Number(db, "SELECT max(num) FROM records"));
    TRY_ASSIGN(const int64_t last_record, Number(db, "SELECT max(seq) FROM records"));
    TRY_ASSIGN(const int64_t last_blob, Number(db, "SELECT max(seq) FROM blobs"));
    next_num = last_num + 1;
    next_seq = std::max({last_record, last_blob, synced}) + 1;
    unsynced = next_seq - 1 - synced;
    return OkStatus();
  }));
  if (sweep_all) {
    TRY(SweepOrphans());
  }
  for (const char* folder : {"/ingest", "/trash"}) {
    TRY_ASSIGN(const std::vector<std::string> names, Names(root + folder));
    for (const std::string& name : names) janitor->Delete(root + folder + "/" + name);
  }
  if (unsynced > 0) janitor->WantSync();
  return OkStatus();
}

// Directories and blobs without a row, rows without their data.
Status Store::Impl::SweepOrphans() {
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
    if (!nums.contains(name)) Trash(root + "/snapshots/" + name);
    local.erase(name);
  }
  TRY_ASSIGN(const std::vector<std::string> files, Names(root + "/blobs/sha256"));
  for (const std::string& name : files) {
    if (!digests.contains(name)) (void)unlink((root + "/blobs/sha256/" + name).c_str());
    digests.erase(name);
  }
  if (local.empty() && digests.empty()) return OkStatus();
  return database->Write([&](SqliteConnection& db) -> Status {
    for (const std::string& num : local) {
      TRY(
          db.Exec(fmt::format("UPDATE records SET local=0 WHERE num={0} AND EXISTS(SELECT 1 FROM "
                              "layer_blobs WHERE record={0} AND compression<16);"
                              "DELETE FROM records WHERE num={0} AND (local=1 OR kind=3)",
                              num)));
    }
    for (const std::string& hex : digests)
      TRY(db.Exec(fmt::format("DELETE FROM blobs WHERE digest=x'{}'", hex)));
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

void Store::Impl::Close() {
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
