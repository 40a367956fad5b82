#include "store/root.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/log.h"
#include "store/meta.h"
#include "store/schema.h"
#include "sys/file_info.h"

namespace kiln::store {
namespace {

Status MakeDir(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return OkStatus();
  return ErrnoError(errno, "create {}", path);
}

Status MakeFolders(const std::string& root) {
  for (size_t slash = root.find('/', 1); slash != root.npos; slash = root.find('/', slash + 1)) {
    TRY(MakeDir(root.substr(0, slash), 0755));
  }
  TRY(MakeDir(root, 0711));
  for (const char* name : {"/blobs", "/blobs/sha256", "/snapshots", "/ingest", "/trash"}) {
    TRY(MakeDir(root + name, 0700));
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<std::string>> NamesIn(const std::string& directory) {
  TRY_ASSIGN(const Fd fd, OpenFile(directory, O_RDONLY | O_DIRECTORY));
  TRY_ASSIGN(const std::vector<sys::DirEntry> entries, sys::ReadDir(fd.get()));
  std::vector<std::string> names;
  for (const sys::DirEntry& entry : entries) names.push_back(entry.name);
  return names;
}

Root::Root(StoreOptions options)
    : options_(std::move(options)),
      path_(options_.root),
      clock_(options_.clock != nullptr ? options_.clock : &system_clock_) {
  while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();
}

Root::~Root() {
  janitor_.reset();
  // After trouble the next start looks over everything.
  if (ready_ && !troubled()) {
    database_->WriteLater([](SqliteConnection& db) { return SetMeta(db, "open", "0"); });
  }
}

Status Root::Open() {
  TRY(MakeFolders(path_));
  TRY_ASSIGN(lock_, OpenFile(path_ + "/lock", O_RDWR | O_CREAT, 0600));
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Unavailable("{} is in use by another process", path_);
    return ErrnoError(errno, "lock {}", path_);
  }
  TRY_ASSIGN(directory_, OpenFile(path_, O_RDONLY | O_DIRECTORY));
  TRY_ASSIGN(database_, Database::Open(path_ + "/store.db", kStoreMigrations));
  TRY_ASSIGN(janitor_, Janitor::Start([this] { Sync(); }, options_.sync_delay));
  return OkStatus();
}

SnapshotDirs Root::DirsOf(int64_t num) const {
  SnapshotDirs dirs;
  dirs.top = fmt::format("{}/{}", SnapshotDir(), num);
  dirs.fs = dirs.top + "/fs";
  dirs.work = dirs.top + "/work";
  dirs.tree = dirs.top + "/tree";
  dirs.index = dirs.top + "/index";
  dirs.links = dirs.top + "/links";
  dirs.linked = dirs.top + "/linked";
  return dirs;
}

std::string Root::NewIngest(std::string_view kind) const {
  return fmt::format("{}/ingest/{}-{}", path_, kind, NewId());
}

void Root::Trash(const std::string& path) {
  std::string grave = path_ + "/trash/" + NewId();
  if (rename(path.c_str(), grave.c_str()) == 0) {
    janitor_->Delete(std::move(grave));
    return;
  }
  if (errno == ENOENT) return;
  // A full disk may have no room for a name in trash/. Here and now, then: the path may be used
  // again.
  const Error moving = ErrnoError(errno, "moving {} to trash", path);
  if (Status removed = sys::RemoveTree(path); !removed.ok()) {
    LOG_WARNING("{}", moving);
    LOG_WARNING("removing {}: {}", path, removed.error());
    orphans_ = true;
  }
}

void Root::SetNumbers(int64_t next_num, int64_t next_seq) {
  next_num_ = next_num;
  next_seq_ = next_seq;
}

// The data first, then the mark that says so.
void Root::Sync() {
  const int64_t upto = next_seq_.load() - 1;
  // Rows below `upto` may still be in the writer's queue; the mark is written behind them.
  if (syncfs(directory_.get()) != 0) {
    LOG_WARNING("{}", ErrnoError(errno, "syncing {}", path_));
    return;
  }
  database_->WriteLater(
      [upto](SqliteConnection& db) { return SetMeta(db, "synced", std::to_string(upto)); });
}

Status Root::MakeOpenDurable() {
  const MutexLock lock(open_mutex_);
  if (open_is_durable_) return OkStatus();
  TRY_ASSIGN(const Fd log, OpenFile(path_ + "/store.db-wal", O_RDONLY));
  if (fdatasync(log.get()) != 0) return ErrnoError(errno, "sync {}/store.db-wal", path_);
  open_is_durable_ = true;
  return OkStatus();
}

Status Root::MakeBallast() const {
  if (options_.ballast_bytes == 0) return OkStatus();
  const std::string path = path_ + "/ballast";
  struct stat st;
  if (stat(path.c_str(), &st) == 0 && static_cast<uint64_t>(st.st_size) == options_.ballast_bytes)
    return OkStatus();
  TRY_ASSIGN(const Fd fd, OpenFile(path, O_WRONLY | O_CREAT, 0600));
  const int failed = posix_fallocate(fd.get(), 0, static_cast<off_t>(options_.ballast_bytes));
  if (failed != 0)
    LOG_WARNING("{}", ErrnoError(failed, "reserving {} bytes in {}", options_.ballast_bytes, path));
  return OkStatus();
}

void Root::GiveUpBallast() const {
  if (FreeBytes() < options_.ballast_bytes) (void)unlink((path_ + "/ballast").c_str());
}

Status Root::CheckSpace(uint64_t more) const {
  struct statvfs fs;
  if (statvfs(path_.c_str(), &fs) != 0) return OkStatus();
  const uint64_t free = uint64_t{geteuid() == 0 ? fs.f_bfree : fs.f_bavail} * fs.f_frsize;
  if (free >= options_.kept_free_bytes + kSpaceStep + more) return OkStatus();
  return ResourceExhausted(
      "no space left on device: {} bytes are free at {}, and the last {} are kept for the store's "
      "own books",
      free, path_, options_.kept_free_bytes);
}

uint64_t Root::FreeBytes() const {
  struct statvfs fs;
  return statvfs(path_.c_str(), &fs) == 0 ? uint64_t{fs.f_bavail} * fs.f_frsize : UINT64_MAX;
}

}  // namespace kiln::store
