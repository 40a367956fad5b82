#include "sys/rooted_path.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <deque>

#include "base/strings.h"
#include "sys/syscalls.h"

namespace kiln::sys {
namespace {

constexpr int kMaxLinks = 255;
constexpr uint64_t kInRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
constexpr uint64_t kNoLinks = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

Error BadPath(std::string_view path) {
  return InvalidArgument("{}: a path must not contain a zero byte", Quoted(path));
}

// Without leading and trailing slashes; "." for the root.
Result<std::string> Clean(std::string_view path) {
  if (path.find('\0') != std::string_view::npos) return BadPath(path);
  while (!path.empty() && path.front() == '/') path.remove_prefix(1);
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  return std::string(path.empty() ? "." : path);
}

// Of a path that fills a screen its ends say enough.
std::string Shown(std::string_view path) {
  constexpr size_t kEnd = 100;
  if (path.empty()) return "/";
  if (path.size() <= 3 * kEnd) return std::string(path);
  return fmt::format("{}…{} ({} bytes)", path.substr(0, kEnd), path.substr(path.size() - kEnd),
                     path.size());
}

Error PathError(int error_number, const char* what, std::string_view path) {
  return ErrnoError(error_number, "{} {}", what, Shown(path));
}

// Gives a directory just made its owner and its mode, whatever the umask.
Status Adopt(int parent, const std::string& name, mode_t mode,
             const std::optional<RootedPath::Owner>& owner) {
  if (owner) TRY(ChownAt(parent, name, owner->uid, owner->gid));
  return ChmodAt(parent, name, mode);
}

// Resolve()'s state: what is resolved so far, and the components still to come.
class Resolver {
 public:
  Resolver(int root, std::string_view path) : root_(root), path_(path) { PushFront(path); }

  Result<std::string> Run(Follow follow) {
    while (!todo_.empty()) {
      std::string component = std::move(todo_.front());
      todo_.pop_front();
      if (component.empty() || component == ".") continue;
      if (component == "..") {
        if (!done_.empty()) done_.pop_back();
        continue;
      }
      done_.push_back(std::move(component));
      if (follow == Follow::kNo && OnlyDotsLeft()) break;
      TRY(FollowLast());
    }
    return "/" + Join(done_, "/");
  }

 private:
  bool OnlyDotsLeft() const {
    for (const std::string& component : todo_) {
      if (!component.empty() && component != ".") return false;
    }
    return true;
  }

  void PushFront(std::string_view path) {
    std::vector<std::string_view> parts = Split(path, '/');
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) todo_.emplace_front(*part);
  }

  Status FollowLast() {
    std::string so_far = Join(done_, "/");
    int raw = OpenAt2(root_, so_far.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, kNoLinks);
    if (raw < 0) {
      if (errno == ENOENT) return OkStatus();
      return PathError(errno, "resolve", path_);
    }
    Fd fd(raw);
    TRY_ASSIGN(FileInfo info, StatFd(raw));
    if (!info.IsSymlink()) return OkStatus();
    if (++links_ > kMaxLinks) return FailedPrecondition("resolve {}: too many links", path_);
    TRY_ASSIGN(std::string target, ReadLinkAt(raw, ""));
    done_.pop_back();
    if (!target.empty() && target[0] == '/') done_.clear();
    PushFront(target);
    return OkStatus();
  }

  int root_;
  std::string_view path_;
  std::vector<std::string> done_;
  std::deque<std::string> todo_;
  int links_ = 0;
};

}  // namespace

Result<RootedPath> RootedPath::Open(const std::string& directory) {
  TRY_ASSIGN(Fd fd, kiln::OpenFile(directory, O_PATH | O_DIRECTORY));
  return FromFd(std::move(fd));
}

RootedPath RootedPath::FromFd(Fd directory) {
  return RootedPath(std::make_shared<const Fd>(std::move(directory)));
}

Result<RootedPath> RootedPath::Sub(std::string_view path) const {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_PATH | O_DIRECTORY));
  return FromFd(std::move(fd));
}

Result<Fd> RootedPath::OpenFile(std::string_view path, int flags, mode_t mode) const {
  TRY_ASSIGN(std::string clean, Clean(path));
  bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  int fd = OpenAt2(root_->get(), clean.c_str(), static_cast<unsigned>(flags) | O_CLOEXEC,
                   creates ? mode & 07777 : 0, kInRoot);
  if (fd < 0) return PathError(errno, "open", path);
  return Fd(fd);
}

Result<Fd> RootedPath::OpenPath(std::string_view path, Follow follow) const {
  return OpenFile(path, O_PATH | (follow == Follow::kNo ? O_NOFOLLOW : 0));
}

Result<Fd> RootedPath::OpenDir(std::string_view path) const {
  return OpenFile(path, O_RDONLY | O_DIRECTORY);
}

Result<FileInfo> RootedPath::Stat(std::string_view path, Follow follow) const {
  TRY_ASSIGN(Fd fd, OpenPath(path, follow));
  return StatFd(fd.get());
}

Result<bool> RootedPath::Exists(std::string_view path, Follow follow) const {
  auto fd = OpenPath(path, follow);
  if (fd.ok()) return true;
  if (fd.error().code() == Code::kNotFound) return false;
  return std::move(fd).error();
}

Result<std::string> RootedPath::ReadLink(std::string_view path) const {
  TRY_ASSIGN(Fd fd, OpenPath(path, Follow::kNo));
  TRY_ASSIGN(FileInfo info, StatFd(fd.get()));
  if (!info.IsSymlink()) return InvalidArgument("read link {}: not a symbolic link", path);
  return ReadLinkAt(fd.get(), "");
}

Result<std::string> RootedPath::Resolve(std::string_view path, Follow follow) const {
  if (path.find('\0') != std::string_view::npos) return BadPath(path);
  return Resolver(root_->get(), path).Run(follow);
}

Result<std::string> RootedPath::ReadFile(std::string_view path, size_t limit) const {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  TRY_ASSIGN(FileInfo info, StatFd(fd.get()));
  if (!info.IsRegular()) return FailedPrecondition("read {}: not a regular file", path);
  if (info.size > limit) return ResourceExhausted("read {}: larger than {} bytes", path, limit);
  TRY_ASSIGN_CTX(std::string data, ReadAll(fd.get(), limit), "read {}", path);
  return data;
}

Result<RootedPath::Parent> RootedPath::OpenParent(std::string_view path) const {
  TRY_ASSIGN(std::string clean, Clean(path));
  while (clean.ends_with("/.")) {
    clean.resize(clean.size() - 2);
    while (clean.ends_with('/')) clean.pop_back();
  }
  size_t slash = clean.rfind('/');
  std::string name = slash == std::string::npos ? clean : clean.substr(slash + 1);
  if (name.empty() || name == "." || name == "..")
    return InvalidArgument("{}: not the name of an entry", Quoted(path));
  std::string_view directory =
      slash == std::string::npos ? std::string_view("/") : std::string_view(clean).substr(0, slash);
  TRY_ASSIGN(Fd dir, OpenFile(directory, O_PATH | O_DIRECTORY));
  return Parent{std::move(dir), std::move(name)};
}

Result<std::vector<std::string>> RootedPath::MakeDirs(std::string_view path, mode_t mode,
                                                      std::optional<Owner> owner) const {
  TRY_ASSIGN(std::string resolved, Resolve(path));
  std::vector<std::string> created;
  TRY_ASSIGN(Fd dir, root_->Dup());
  size_t begin = 1;
  while (begin < resolved.size()) {
    size_t end = resolved.find('/', begin);
    if (end == std::string::npos) end = resolved.size();
    std::string name = resolved.substr(begin, end - begin);
    begin = end + 1;
    constexpr uint64_t kFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int next = OpenAt2(dir.get(), name.c_str(), kFlags, 0, kNoLinks);
    if (next < 0 && errno == ENOENT) {
      if (mkdirat(dir.get(), name.c_str(), mode & 07777) == 0) {
        TRY_CTX(Adopt(dir.get(), name, mode, owner), "make directory {}", path);
        created.push_back(resolved.substr(0, end));
      } else if (errno != EEXIST) {
        return PathError(errno, "make directory", path);
      }
      next = OpenAt2(dir.get(), name.c_str(), kFlags, 0, kNoLinks);
    }
    if (next < 0) return PathError(errno, "make directory", path);
    dir.Reset(next);
  }
  return created;
}

Status RootedPath::MakeDir(std::string_view path, mode_t mode) const {
  TRY_ASSIGN(Parent parent, OpenParent(path));
  if (mkdirat(parent.dir.get(), parent.name.c_str(), mode & 07777) != 0)
    return PathError(errno, "make directory", path);
  return ChmodAt(parent.dir.get(), parent.name, mode);
}

Status RootedPath::WriteFile(std::string_view path, std::string_view data, mode_t mode) const {
  constexpr int kFlags = O_WRONLY | O_NONBLOCK | O_NOCTTY;
  auto opened = OpenFile(path, kFlags | O_CREAT | O_EXCL, mode);
  bool created = opened.ok();
  if (!created && opened.error().code() == Code::kAlreadyExists)
    opened = OpenFile(path, kFlags | O_CREAT, mode);
  if (!opened.ok()) return std::move(opened).error();
  Fd fd = std::move(*opened);
  TRY_ASSIGN(FileInfo info, StatFd(fd.get()));
  if (!info.IsRegular()) return FailedPrecondition("write {}: not a regular file", path);
  if (created && fchmod(fd.get(), mode & 07777) != 0)
    return PathError(errno, "change mode of", path);
  if (ftruncate(fd.get(), 0) != 0) return PathError(errno, "truncate", path);
  TRY_CTX(WriteAll(fd.get(), data), "write {}", path);
  return OkStatus();
}

Status RootedPath::MakeNode(std::string_view path, mode_t mode, dev_t device) const {
  TRY_ASSIGN(Parent parent, OpenParent(path));
  if (mknodat(parent.dir.get(), parent.name.c_str(), mode, device) != 0)
    return PathError(errno, "make node", path);
  return ChmodAt(parent.dir.get(), parent.name, mode);
}

Status RootedPath::Symlink(const std::string& target, std::string_view path) const {
  if (target.find('\0') != std::string::npos) return BadPath(target);
  TRY_ASSIGN(Parent parent, OpenParent(path));
  if (symlinkat(target.c_str(), parent.dir.get(), parent.name.c_str()) != 0)
    return PathError(errno, "make link", path);
  return OkStatus();
}

Status RootedPath::HardLink(std::string_view existing, std::string_view path) const {
  TRY_ASSIGN(Parent from, OpenParent(existing));
  TRY_ASSIGN(Parent to, OpenParent(path));
  if (linkat(from.dir.get(), from.name.c_str(), to.dir.get(), to.name.c_str(), 0) != 0) {
    return ErrnoError(errno, "link {} to {}", path, existing);
  }
  return OkStatus();
}

Status RootedPath::Rename(std::string_view from, std::string_view to, unsigned flags) const {
  TRY_ASSIGN(Parent source, OpenParent(from));
  TRY_ASSIGN(Parent target, OpenParent(to));
  if (SysRenameAt2(source.dir.get(), source.name.c_str(), target.dir.get(), target.name.c_str(),
                   flags) != 0) {
    return ErrnoError(errno, "rename {} to {}", from, to);
  }
  return OkStatus();
}

Status RootedPath::Unlink(std::string_view path) const {
  TRY_ASSIGN(Parent parent, OpenParent(path));
  if (unlinkat(parent.dir.get(), parent.name.c_str(), 0) != 0)
    return PathError(errno, "remove", path);
  return OkStatus();
}

Status RootedPath::RemoveDir(std::string_view path) const {
  TRY_ASSIGN(Parent parent, OpenParent(path));
  if (unlinkat(parent.dir.get(), parent.name.c_str(), AT_REMOVEDIR) != 0)
    return PathError(errno, "remove directory", path);
  return OkStatus();
}

Status RootedPath::RemoveTree(std::string_view path) const {
  TRY_ASSIGN(std::string clean, Clean(path));
  if (clean == ".") {
    TRY_ASSIGN(Fd dir, OpenDir("/"));
    TRY_ASSIGN(std::vector<DirEntry> entries, ReadDir(dir.get()));
    for (const DirEntry& entry : entries) TRY(RemoveTreeAt(dir.get(), entry.name));
    return OkStatus();
  }
  auto parent = OpenParent(path);
  if (!parent.ok()) {
    if (parent.error().code() == Code::kNotFound) return OkStatus();
    return std::move(parent).error();
  }
  TRY_CTX(RemoveTreeAt(parent->dir.get(), parent->name), "removing {}", path);
  return OkStatus();
}

Status RootedPath::Chown(std::string_view path, uid_t uid, gid_t gid) const {
  TRY_ASSIGN(Fd fd, OpenPath(path, Follow::kNo));
  if (fchownat(fd.get(), "", uid, gid, AT_EMPTY_PATH) != 0)
    return PathError(errno, "change owner of", path);
  return OkStatus();
}

Status RootedPath::Chmod(std::string_view path, mode_t mode) const {
  TRY_ASSIGN(Fd fd, OpenPath(path, Follow::kNo));
  TRY_ASSIGN(FileInfo info, StatFd(fd.get()));
  if (info.IsSymlink()) return OkStatus();
  if (chmod(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), mode & 07777) != 0) {
    return PathError(errno, "change mode of", path);
  }
  return OkStatus();
}

Status RootedPath::SetTimes(std::string_view path, WallTime atime, WallTime mtime) const {
  TRY_ASSIGN(std::string clean, Clean(path));
  if (clean == ".") return SetTimesAt(root_->get(), ".", atime, mtime);
  TRY_ASSIGN(Parent parent, OpenParent(path));
  return SetTimesAt(parent.dir.get(), parent.name, atime, mtime);
}

Result<Xattrs> RootedPath::GetXattrs(std::string_view path) const {
  TRY_ASSIGN(Fd fd, OpenPath(path, Follow::kNo));
  TRY_ASSIGN_CTX(Xattrs xattrs, GetXattrsFd(fd.get()), "{}", path);
  return xattrs;
}

Status RootedPath::SetXattr(std::string_view path, const std::string& attribute,
                            std::string_view value) const {
  TRY_ASSIGN(std::string clean, Clean(path));
  if (clean == ".") return SetXattrAt(root_->get(), ".", attribute, value);
  TRY_ASSIGN(Parent parent, OpenParent(path));
  return SetXattrAt(parent.dir.get(), parent.name, attribute, value);
}

Status RootedPath::RemoveXattr(std::string_view path, const std::string& attribute) const {
  TRY_ASSIGN(std::string clean, Clean(path));
  if (clean == ".") return RemoveXattrAt(root_->get(), ".", attribute);
  TRY_ASSIGN(Parent parent, OpenParent(path));
  return RemoveXattrAt(parent.dir.get(), parent.name, attribute);
}

}  // namespace kiln::sys
