#include "filesync/destination.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>

#include "base/ids.h"
#include "base/strings.h"
#include "sys/file_info.h"

namespace kiln::filesync {
namespace {

constexpr size_t kMaxOpenDirs = 256;
constexpr std::string_view kTemporaryPrefix = ".kiln-";
constexpr size_t kHashDigits = 16;

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

bool IsTemporaryName(std::string_view name) {
  if (!name.starts_with(kTemporaryPrefix)) return false;
  const std::string_view hash = name.substr(kTemporaryPrefix.size(), kHashDigits);
  return hash.size() == kHashDigits &&
         hash.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

int MakeTemporary(int dir, const std::string& name, const std::function<int()>& make) {
  const int made = make();
  if (made >= 0 || errno != EEXIST) return made;
  // No other transfer that runs makes this name: one that was killed left it.
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

Destination::Destination(int root) : root_(root), alone_(flock(root, LOCK_EX | LOCK_NB) == 0) {}

// Who has the folder alone takes the same name each time, so that a later transfer finds and
// replaces what one that was killed has left.
std::string Destination::TemporaryName(std::string_view path) const {
  std::string name =
      fmt::format("{}{:0{}x}", kTemporaryPrefix, std::hash<std::string_view>()(path), kHashDigits);
  if (!alone_) name.append("-").append(NewId());
  return name;
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
  place.temporary = TemporaryName(path);
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

Status Destination::SetSpecialMetadata(const Place& place, const Entry& entry) {
  const int dir = place.dir->get();
  const char* const name = place.temporary.c_str();
  if (fchownat(dir, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError(errno, "chown {}", Quoted(entry.path));
  }
  const std::string proc_path = fmt::format("/proc/self/fd/{}/{}", dir, name);
  for (const auto& [key, value] : entry.xattrs) {
    (void)lsetxattr(proc_path.c_str(), key.c_str(), value.data(), value.size(), 0);
  }
  if (!entry.IsSymlink() && fchmodat(dir, name, entry.mode & 07777, 0) != 0) {
    return ErrnoError(errno, "chmod {}", Quoted(entry.path));
  }
  if (utimensat(dir, name, Times(entry).data(), AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError(errno, "set times of {}", Quoted(entry.path));
  }
  return OkStatus();
}

Status MoveToPlace(const Destination::Place& place, std::string_view path) {
  const int dir = place.dir->get();
  if (renameat(dir, place.temporary.c_str(), dir, place.name.c_str()) == 0) return OkStatus();
  return ErrnoError(errno, "rename {}", Quoted(path));
}

Status Destination::MakeSpecial(const Entry& entry) {
  TRY_ASSIGN(const Place place, PlaceOf(entry.path));
  const int dir = place.dir->get();
  const char* const temporary = place.temporary.c_str();
  const int made = MakeTemporary(dir, place.temporary, [&] {
    return entry.IsSymlink() ? symlinkat(entry.linkname.c_str(), dir, temporary)
                             : mknodat(dir, temporary, (entry.mode & S_IFMT) | 0600,
                                       makedev(entry.devmajor, entry.devminor));
  });
  if (made != 0) return ErrnoError(errno, "create {}", Quoted(entry.path));
  Status moved = SetSpecialMetadata(place, entry);
  if (moved.ok()) moved = MoveToPlace(place, entry.path);
  if (!moved.ok()) unlinkat(dir, temporary, 0);
  return moved;
}

Status Destination::MakeLink(const Entry& entry, std::string_view target) {
  TRY_ASSIGN(const Place from, PlaceOf(target));
  TRY_ASSIGN(const Place place, PlaceOf(entry.path));
  const int dir = place.dir->get();
  const char* const temporary = place.temporary.c_str();
  const int made = MakeTemporary(dir, place.temporary, [&] {
    return linkat(from.dir->get(), from.name.c_str(), dir, temporary, 0);
  });
  if (made != 0) {
    return ErrnoError(errno, "link {} to {}", Quoted(entry.path), Quoted(target));
  }
  Status moved = MoveToPlace(place, entry.path);
  // Renaming one name of an inode over another does nothing and leaves the first.
  unlinkat(dir, temporary, 0);
  return moved;
}

Status Destination::SetDirMetadata(const Entry& entry) {
  TRY_ASSIGN(const Dir dir, OpenDir(entry.path));
  return SetMetadata(dir->get(), entry);
}

}  // namespace kiln::filesync
