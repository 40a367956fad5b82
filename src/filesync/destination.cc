#include "filesync/destination.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>

#include "base/strings.h"
#include "sys/file_info.h"

namespace kiln::filesync {
namespace {

constexpr size_t kMaxOpenDirs = 256;

std::array<timespec, 2> Times(const Entry& entry) {
  constexpr int64_t kSecond = 1'000'000'000;
  int64_t seconds = entry.mtime_ns / kSecond;
  int64_t rest = entry.mtime_ns % kSecond;
  if (rest < 0) {
    rest += kSecond;
    --seconds;
  }
  const timespec time{static_cast<time_t>(seconds), static_cast<long>(rest)};
  return {time, time};
}

Result<Fd> OpenBeneath(int root, const std::string& path) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  while (true) {
    const long fd = syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if (errno != EINTR && errno != EAGAIN) return ErrnoError(errno, "open {}", Quoted(path));
  }
}

}  // namespace

std::string TemporaryName(std::string_view path) {
  // Unique within a directory per transfer: one entry, one name.
  return fmt::format(".kiln-{:016x}", std::hash<std::string_view>()(path));
}

int MakeTemporary(int dir, const std::string& name, const std::function<int()>& make) {
  const int made = make();
  if (made >= 0 || errno != EEXIST) return made;
  // No two entries of a directory have the same name of this kind: a transfer that was killed left
  // it.
  if (unlinkat(dir, name.c_str(), 0) != 0) return -1;
  return make();
}

Status SetMetadata(int fd, const Entry& entry) {
  if (fchown(fd, entry.uid, entry.gid) != 0)
    return ErrnoError(errno, "chown {}", Quoted(entry.path));
  // Not every filesystem keeps every attribute; a context is usable without.
  for (const auto& [name, value] : entry.xattrs)
    (void)fsetxattr(fd, name.c_str(), value.data(), value.size(), 0);
  if (fchmod(fd, entry.mode & 07777) != 0) return ErrnoError(errno, "chmod {}", Quoted(entry.path));
  if (futimens(fd, Times(entry).data()) != 0)
    return ErrnoError(errno, "set times of {}", Quoted(entry.path));
  return OkStatus();
}

Result<Destination::Dir> Destination::OpenDir(std::string_view path) {
  const auto it = dirs_.find(std::string(path));
  if (it != dirs_.end()) return it->second;
  TRY_ASSIGN(Fd fd, OpenBeneath(root_, path.empty() ? "." : std::string(path)));
  if (dirs_.size() >= kMaxOpenDirs) dirs_.clear();
  auto dir = std::make_shared<const Fd>(std::move(fd));
  dirs_.emplace(path, dir);
  return dir;
}

Result<Destination::Place> Destination::PlaceOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  const bool top = slash == std::string_view::npos;
  Place place;
  TRY_ASSIGN(place.dir, OpenDir(top ? std::string_view() : path.substr(0, slash)));
  place.name = top ? path : path.substr(slash + 1);
  return place;
}

Status Destination::Remove(std::string_view path) {
  TRY_ASSIGN(const Place place, PlaceOf(path));
  const int dir = place.dir->get();
  if (unlinkat(dir, place.name.c_str(), 0) == 0 || errno == ENOENT) return OkStatus();
  if (errno != EISDIR && errno != EPERM) return ErrnoError(errno, "unlink {}", Quoted(path));
  dirs_.clear();
  return sys::RemoveTreeAt(dir, place.name);
}

Status Destination::ClearWay(const Entry& entry) {
  TRY_ASSIGN(const Place place, PlaceOf(entry.path));
  struct stat info{};
  if (fstatat(place.dir->get(), place.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return OkStatus();
  return S_ISDIR(info.st_mode) == entry.IsDirectory() ? OkStatus() : Remove(entry.path);
}

Status Destination::MakeDir(const Entry& entry) {
  TRY_ASSIGN(const Place place, PlaceOf(entry.path));
  if (mkdirat(place.dir->get(), place.name.c_str(), 0700) == 0 || errno == EEXIST)
    return OkStatus();
  return ErrnoError(errno, "mkdir {}", Quoted(entry.path));
}

Status Destination::SetSpecialMetadata(const Place& place, const std::string& name,
                                       const Entry& entry) {
  const int dir = place.dir->get();
  if (fchownat(dir, name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError(errno, "chown {}", Quoted(entry.path));
  }
  const std::string proc_path = fmt::format("/proc/self/fd/{}/{}", dir, name);
  for (const auto& [key, value] : entry.xattrs) {
    (void)lsetxattr(proc_path.c_str(), key.c_str(), value.data(), value.size(), 0);
  }
  if (!entry.IsSymlink() && fchmodat(dir, name.c_str(), entry.mode & 07777, 0) != 0) {
    return ErrnoError(errno, "chmod {}", Quoted(entry.path));
  }
  if (utimensat(dir, name.c_str(), Times(entry).data(), AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError(errno, "set times of {}", Quoted(entry.path));
  }
  return OkStatus();
}

Status Destination::MakeSpecial(const Entry& entry) {
  TRY_ASSIGN(const Place place, PlaceOf(entry.path));
  const int dir = place.dir->get();
  const std::string temporary = TemporaryName(entry.path);
  const int made = MakeTemporary(dir, temporary, [&] {
    return entry.IsSymlink() ? symlinkat(entry.linkname.c_str(), dir, temporary.c_str())
                             : mknodat(dir, temporary.c_str(), (entry.mode & S_IFMT) | 0600,
                                       makedev(entry.devmajor, entry.devminor));
  });
  if (made != 0) return ErrnoError(errno, "create {}", Quoted(entry.path));
  TRY(SetSpecialMetadata(place, temporary, entry));
  if (renameat(dir, temporary.c_str(), dir, place.name.c_str()) != 0) {
    return ErrnoError(errno, "rename {}", Quoted(entry.path));
  }
  return OkStatus();
}

Status Destination::MakeLink(const Entry& entry, std::string_view target) {
  TRY_ASSIGN(const Place from, PlaceOf(target));
  TRY_ASSIGN(const Place place, PlaceOf(entry.path));
  const std::string temporary = TemporaryName(entry.path);
  const int dir = place.dir->get();
  const int made = MakeTemporary(dir, temporary, [&] {
    return linkat(from.dir->get(), from.name.c_str(), dir, temporary.c_str(), 0);
  });
  if (made != 0) {
    return ErrnoError(errno, "link {} to {}", Quoted(entry.path), Quoted(target));
  }
  if (renameat(dir, temporary.c_str(), dir, place.name.c_str()) != 0) {
    return ErrnoError(errno, "rename {}", Quoted(entry.path));
  }
  // Renaming one name of an inode over another does nothing and leaves the first.
  unlinkat(dir, temporary.c_str(), 0);
  return OkStatus();
}

Status Destination::SetDirMetadata(const Entry& entry) {
  TRY_ASSIGN(const Dir dir, OpenDir(entry.path));
  return SetMetadata(dir->get(), entry);
}

}  // namespace kiln::filesync
