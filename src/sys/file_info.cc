#include "sys/file_info.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>

#include "base/unix_time.h"
#include "sys/remove_tree.h"
#include "sys/syscalls.h"

namespace kiln::sys {
namespace {

WallTime FromTimespec(const timespec& ts) { return FromUnix(ts.tv_sec, ts.tv_nsec); }

// A path for calls that take no directory descriptor: the magic link leads straight to the open
// directory, `name` is one component.
std::string MagicPath(int dir, const std::string& name) {
  return fmt::format("/proc/self/fd/{}/{}", dir, name);
}

struct Grown {
  int error = 0;  // errno
  std::string data;
};

// Calls `read` with growing buffers until the answer fits.
template <typename Read>
Grown ReadGrowing(Read read) {
  std::string buffer(256, '\0');
  for (;;) {
    ssize_t got = read(buffer.data(), buffer.size());
    if (got >= 0) {
      buffer.resize(static_cast<size_t>(got));
      return {0, std::move(buffer)};
    }
    if (errno != ERANGE) return {errno, {}};
    buffer.resize(buffer.size() * 4);
  }
}

bool NoXattrs(int error_number) { return error_number == ENOTSUP || error_number == ENOSYS; }

template <typename List, typename Get>
Result<Xattrs> CollectXattrs(List list, Get get) {
  Xattrs xattrs;
  ssize_t size = list(nullptr, 0);
  if (size == 0 || (size < 0 && NoXattrs(errno))) return xattrs;
  Grown names = ReadGrowing(list);
  if (names.error != 0) return ErrnoError(names.error, "list extended attributes");
  for (size_t begin = 0; begin < names.data.size();) {
    size_t end = names.data.find('\0', begin);
    if (end == std::string::npos) end = names.data.size();
    std::string name = names.data.substr(begin, end - begin);
    begin = end + 1;
    Grown value =
        ReadGrowing([&](char* data, size_t bytes) { return get(name.c_str(), data, bytes); });
    if (value.error == ENODATA) continue;  // gone meanwhile
    if (value.error != 0) return ErrnoError(value.error, "read extended attribute {}", name);
    xattrs.emplace(std::move(name), std::move(value.data));
  }
  return xattrs;
}

// Whether the kernel (6.13 and later) says so by a call that takes a directory: a third of the time
// of going through /proc, and asked of every file of a tree. False: it has some, or cannot say.
bool HasNoXattrs(int dir, const std::string& name) {
  static std::atomic<bool> served = true;
  if (!served.load(std::memory_order_relaxed)) return false;
  const long size =
      syscall(kSysListXattrAt, dir, name.c_str(), AT_SYMLINK_NOFOLLOW, nullptr, size_t{0});
  // A seccomp filter that is older than the call may say EPERM.
  if (size < 0 && (errno == ENOSYS || errno == EPERM)) served = false;
  return size == 0;
}

// RemoveTree's state: directories open on the way down. Deeper than kMaxOpen, subtrees are moved up
// to the top and taken from there.
class TreeRemover {
 public:
  explicit TreeRemover(const std::atomic<bool>* stop) : stop_(stop) {}

  Status Remove(int dir, const std::string& name) {
    if (unlinkat(dir, name.c_str(), 0) == 0 || errno == ENOENT) return OkStatus();
    if (errno != EISDIR && errno != EPERM) return ErrnoError(errno, "remove {}", name);
    auto top = Open(dir, name);
    if (!top.ok()) {
      if (top.error().code() == Code::kNotFound) return OkStatus();
      return std::move(top).error();
    }
    top_ = std::move(*top);
    TRY(Empty());
    top_.Reset();
    if (unlinkat(dir, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      return ErrnoError(errno, "remove directory {}", name);
    }
    return OkStatus();
  }

 private:
  static constexpr size_t kMaxOpen = 200;

  struct Level {
    Fd dir;
    std::string name;
    std::vector<DirEntry> entries;
    size_t next = 0;
  };

  static Result<Fd> Open(int dir, const std::string& name) {
    int fd = OpenAt2(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0,
                     RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
    if (fd >= 0) return Fd(fd);
    if (errno == EXDEV)
      return FailedPrecondition("remove {}: another file system is mounted there", name);
    return ErrnoError(errno, "remove {}", name);
  }

  Status Push(Fd dir, std::string name) {
    Level level{.dir = std::move(dir), .name = std::move(name)};
    TRY_ASSIGN(level.entries, ReadDir(level.dir.get()));
    levels_.push_back(std::move(level));
    return OkStatus();
  }

  Status Empty() {
    TRY_ASSIGN(Fd copy, top_.Dup());
    TRY(Push(std::move(copy), ""));
    while (!levels_.empty()) {
      if (stop_ != nullptr && *stop_) return Cancelled("stopped before all was removed");
      Level& level = levels_.back();
      if (level.next < level.entries.size()) {
        DirEntry entry = std::move(level.entries[level.next++]);
        TRY(RemoveEntry(level.dir.get(), entry));
        continue;
      }
      std::string name = std::move(level.name);
      levels_.pop_back();
      if (levels_.empty()) {
        if (!moved_up_) break;
        moved_up_ = false;  // entries were put here meanwhile: once more
        TRY_ASSIGN(Fd again, top_.Dup());
        TRY(Push(std::move(again), ""));
      } else if (unlinkat(levels_.back().dir.get(), name.c_str(), AT_REMOVEDIR) != 0 &&
                 errno != ENOENT) {
        return ErrnoError(errno, "remove directory {}", name);
      }
    }
    return OkStatus();
  }

  Status RemoveEntry(int dir, const DirEntry& entry) {
    if (entry.type != DT_DIR) {
      if (unlinkat(dir, entry.name.c_str(), 0) == 0 || errno == ENOENT) return OkStatus();
      if (errno != EISDIR && errno != EPERM) return ErrnoError(errno, "remove {}", entry.name);
    }
    if (unlinkat(dir, entry.name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return OkStatus();
    if (errno != ENOTEMPTY && errno != EEXIST) return ErrnoError(errno, "remove {}", entry.name);
    if (levels_.size() >= kMaxOpen) return MoveUp(dir, entry.name);
    TRY_ASSIGN(Fd child, Open(dir, entry.name));
    return Push(std::move(child), entry.name);
  }

  Status MoveUp(int dir, const std::string& name) {
    for (;;) {
      std::string free_name = fmt::format(".kiln-remove-{}", counter_++);
      if (SysRenameAt2(dir, name.c_str(), top_.get(), free_name.c_str(), RENAME_NOREPLACE) == 0) {
        moved_up_ = true;
        return OkStatus();
      }
      if (errno != EEXIST) return ErrnoError(errno, "remove {}", name);
    }
  }

  const std::atomic<bool>* stop_;
  Fd top_;
  std::vector<Level> levels_;
  bool moved_up_ = false;
  uint64_t counter_ = 0;
};

}  // namespace

FileInfo FromStat(const struct stat& st) {
  return {.mode = st.st_mode,
          .uid = st.st_uid,
          .gid = st.st_gid,
          .size = static_cast<uint64_t>(st.st_size),
          .rdev = st.st_rdev,
          .dev = st.st_dev,
          .ino = st.st_ino,
          .nlink = st.st_nlink,
          .blocks = static_cast<uint64_t>(st.st_blocks),
          .atime = FromTimespec(st.st_atim),
          .mtime = FromTimespec(st.st_mtim),
          .ctime = FromTimespec(st.st_ctim)};
}

timespec ToTimespec(WallTime time) {
  int64_t nanos = UnixNanos(time);
  int64_t seconds = nanos / 1'000'000'000;
  int64_t rest = nanos % 1'000'000'000;
  if (rest < 0) {
    rest += 1'000'000'000;
    --seconds;
  }
  return {.tv_sec = seconds, .tv_nsec = rest};
}

KeepTimes::KeepTimes(int dir) : dir_(dir), info_(StatFd(dir)) {}

KeepTimes::~KeepTimes() { (void)Restore().ok(); }

Status KeepTimes::Restore() {
  if (!info_.ok()) return info_.error();
  const timespec times[2] = {ToTimespec(info_->atime), ToTimespec(info_->mtime)};
  if (futimens(dir_, times) != 0) return ErrnoError(errno, "set times");
  return OkStatus();
}

Result<FileInfo> StatFd(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) return ErrnoError(errno, "stat");
  return FromStat(st);
}

Result<FileInfo> StatAt(int dir, const std::string& name) {
  struct stat st;
  if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return ErrnoError(errno, "stat {}", name);
  return FromStat(st);
}

Result<std::string> ReadLinkAt(int dir, const std::string& name) {
  std::string buffer(256, '\0');
  for (;;) {
    ssize_t got = readlinkat(dir, name.c_str(), buffer.data(), buffer.size());
    if (got < 0) return ErrnoError(errno, "read link {}", name);
    if (static_cast<size_t>(got) < buffer.size()) {
      buffer.resize(static_cast<size_t>(got));
      return buffer;
    }
    buffer.resize(buffer.size() * 2);
  }
}

Result<Fd> OpenDirAt(int dir, const std::string& name) {
  int fd = OpenAt2(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0,
                   RESOLVE_NO_SYMLINKS);
  if (fd < 0) return ErrnoError(errno, "open directory {}", name);
  return Fd(fd);
}

Result<Fd> OpenRegularAt(int dir, const std::string& name) {
  int raw = OpenAt2(dir, name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC, 0,
                    RESOLVE_NO_SYMLINKS);
  if (raw < 0) return ErrnoError(errno, "open {}", name);
  Fd fd(raw);
  TRY_ASSIGN(FileInfo info, StatFd(fd.get()));
  if (!info.IsRegular()) return FailedPrecondition("open {}: not a regular file", name);
  return fd;
}

Result<std::vector<DirEntry>> ReadDir(int dir) {
  if (lseek(dir, 0, SEEK_SET) < 0) return ErrnoError(errno, "read directory");
  std::vector<DirEntry> entries;
  constexpr size_t kBufferBytes = 32 * 1024;
  auto buffer = std::make_unique<char[]>(kBufferBytes);
  for (;;) {
    ssize_t got = getdents64(dir, buffer.get(), kBufferBytes);
    if (got < 0) return ErrnoError(errno, "read directory");
    if (got == 0) break;
    for (ssize_t at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.get() + at);
      at += entry->d_reclen;
      std::string_view name = entry->d_name;
      if (name != "." && name != "..") entries.push_back({std::string(name), entry->d_type});
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const DirEntry& a, const DirEntry& b) { return a.name < b.name; });
  return entries;
}

Result<Xattrs> GetXattrsAt(int dir, const std::string& name) {
  if (HasNoXattrs(dir, name)) return Xattrs();
  std::string path = MagicPath(dir, name);
  return CollectXattrs(
      [&](char* data, size_t size) { return llistxattr(path.c_str(), data, size); },
      [&](const char* attribute, char* data, size_t size) {
        return lgetxattr(path.c_str(), attribute, data, size);
      });
}

Result<Xattrs> GetXattrsFd(int fd) {
  std::string path = fmt::format("/proc/self/fd/{}", fd);
  return CollectXattrs([&](char* data, size_t size) { return listxattr(path.c_str(), data, size); },
                       [&](const char* attribute, char* data, size_t size) {
                         return getxattr(path.c_str(), attribute, data, size);
                       });
}

Result<std::string> GetXattrAt(int dir, const std::string& name, const std::string& attribute) {
  std::string path = MagicPath(dir, name);
  Grown value = ReadGrowing([&](char* data, size_t size) {
    return lgetxattr(path.c_str(), attribute.c_str(), data, size);
  });
  if (value.error == ENODATA || NoXattrs(value.error))
    return NotFound("{}: no extended attribute {}", name, attribute);
  if (value.error != 0)
    return ErrnoError(value.error, "read extended attribute {} of {}", attribute, name);
  return std::move(value.data);
}

Status SetXattrAt(int dir, const std::string& name, const std::string& attribute,
                  std::string_view value) {
  if (lsetxattr(MagicPath(dir, name).c_str(), attribute.c_str(), value.data(), value.size(), 0) !=
      0) {
    return ErrnoError(errno, "set extended attribute {} of {}", attribute, name);
  }
  return OkStatus();
}

Status RemoveXattrAt(int dir, const std::string& name, const std::string& attribute) {
  if (lremovexattr(MagicPath(dir, name).c_str(), attribute.c_str()) != 0 && errno != ENODATA) {
    return ErrnoError(errno, "remove extended attribute {} of {}", attribute, name);
  }
  return OkStatus();
}

Status ChownAt(int dir, const std::string& name, uid_t uid, gid_t gid) {
  if (fchownat(dir, name.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError(errno, "change owner of {} to {}:{}", name, uid, gid);
  }
  return OkStatus();
}

Status ChmodAt(int dir, const std::string& name, mode_t mode) {
  if (syscall(kSysFchmodAt2, dir, name.c_str(), mode & 07777, AT_SYMLINK_NOFOLLOW) == 0)
    return OkStatus();
  if (errno == EOPNOTSUPP) return OkStatus();  // a symlink
  if (errno != ENOSYS && errno != EPERM) return ErrnoError(errno, "change mode of {}", name);
  // Before 6.6: through a descriptor of the inode itself.
  int raw = openat(dir, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (raw < 0) return ErrnoError(errno, "change mode of {}", name);
  Fd fd(raw);
  TRY_ASSIGN(FileInfo info, StatFd(fd.get()));
  if (info.IsSymlink()) return OkStatus();
  if (chmod(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), mode & 07777) != 0) {
    return ErrnoError(errno, "change mode of {}", name);
  }
  return OkStatus();
}

Status SetTimesAt(int dir, const std::string& name, WallTime atime, WallTime mtime) {
  timespec times[2] = {ToTimespec(atime), ToTimespec(mtime)};
  if (utimensat(dir, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
    return ErrnoError(errno, "set times of {}", name);
  return OkStatus();
}

Status RemoveTreeAt(int dir, const std::string& name) {
  return TreeRemover(nullptr).Remove(dir, name);
}

namespace {

Status RemoveTreeUnless(const std::atomic<bool>* stop, const std::string& path) {
  // From its parent: only mounts below it are in the way, not one that it lies on itself.
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return TreeRemover(stop).Remove(AT_FDCWD, path);
  const std::string parent = path.substr(0, std::max<size_t>(slash, 1));
  const Fd dir(open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return errno == ENOENT ? OkStatus() : ErrnoError(errno, "removing {}", path);
  TRY_CTX(TreeRemover(stop).Remove(dir.get(), path.substr(slash + 1)), "removing {}", path);
  return OkStatus();
}

}  // namespace

Status RemoveTree(const std::string& path) { return RemoveTreeUnless(nullptr, path); }

Status RemoveTree(const std::string& path, const std::atomic<bool>& stop) {
  return RemoveTreeUnless(&stop, path);
}

}  // namespace kiln::sys
