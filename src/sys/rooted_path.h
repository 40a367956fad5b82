#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sys/file_info.h"

namespace kiln::sys {

// A directory that every path given to it is resolved inside: as in a chroot, "/" is this
// directory, absolute links and ".." are clamped to it, and /proc's magic links are refused
// (openat2 with RESOLVE_IN_ROOT). Whatever other processes do to the tree meanwhile, no operation
// leaves it. Cheap to copy (copies share the descriptor); const operations are safe from any
// thread.
//
// Paths: leading "/" and "" components are ignored, so "a/b", "/a/b" and "/a//b/" are the same; ""
// and "/" mean the root itself. Paths with a zero byte are InvalidArgument. Errors carry the path
// as given, never the place of the root in our file system.
class RootedPath {
 public:
  struct Owner {
    uid_t uid = 0;
    gid_t gid = 0;
  };

  // The root itself is a path of our own; it must be a directory.
  static Result<RootedPath> Open(const std::string& directory);
  // A directory already open (O_PATH suffices), for example MountTree's.
  static RootedPath FromFd(Fd directory);

  // Of the root directory, an O_PATH descriptor. Valid while any copy lives.
  int fd() const { return root_->get(); }

  // --- Looking
  // -----------------------------------------------------------------------------------------------------------
  // A new root at a directory inside this one (links in `path` are followed inside).
  Result<RootedPath> Sub(std::string_view path) const;
  Result<FileInfo> Stat(std::string_view path, Follow follow = Follow::kNo) const;
  // False if missing; other failures are errors.
  Result<bool> Exists(std::string_view path, Follow follow = Follow::kNo) const;
  Result<std::string> ReadLink(std::string_view path) const;
  // The path without links, "..": absolute inside the root ("/a/b"). Components that do not exist
  // are kept as written, also behind a dangling link, so the answer is where a file would be
  // created. With kNo the last component is not followed. Too many links (more than 255):
  // FailedPrecondition. Only a hint when others may change the tree: use it with NoFollow
  // operations.
  Result<std::string> Resolve(std::string_view path, Follow follow = Follow::kYes) const;

  // --- Opening: O_CLOEXEC always; links followed inside the root unless O_NOFOLLOW
  // --------------------------------------------
  Result<Fd> OpenFile(std::string_view path, int flags, mode_t mode = 0) const;
  Result<Fd> OpenPath(std::string_view path, Follow follow = Follow::kYes) const;  // O_PATH
  Result<Fd> OpenDir(std::string_view path) const;  // O_RDONLY | O_DIRECTORY
  // A regular file of at most `limit` bytes, links followed; anything else (fifo, device) is
  // FailedPrecondition and never blocks.
  Result<std::string> ReadFile(std::string_view path, size_t limit) const;

  // The directory that holds the last component, and that component (not resolved further).
  // InvalidArgument for the root and for paths that end in "..".
  struct Parent {
    Fd dir;  // O_PATH
    std::string name;
  };
  Result<Parent> OpenParent(std::string_view path) const;

  // --- Changing: the parent is resolved inside the root, the last component is taken as it is
  // (never followed) ----------------- mkdir -p, links to directories (dangling ones too) followed
  // inside the root. `mode` and `owner` apply to what is created, whatever the umask. Returns the
  // created directories, outermost first, as resolved absolute paths.
  Result<std::vector<std::string>> MakeDirs(std::string_view path, mode_t mode = 0755,
                                            std::optional<Owner> owner = std::nullopt) const;
  Status MakeDir(std::string_view path, mode_t mode = 0755) const;
  // Creates or truncates; the last component is followed inside the root. `mode` counts when
  // created, whatever the umask.
  Status WriteFile(std::string_view path, std::string_view data, mode_t mode = 0644) const;
  Status MakeNode(std::string_view path, mode_t mode, dev_t device) const;
  Status Symlink(const std::string& target, std::string_view path) const;
  Status HardLink(std::string_view existing, std::string_view path) const;
  // renameat2 with `flags` (RENAME_NOREPLACE, RENAME_EXCHANGE).
  Status Rename(std::string_view from, std::string_view to, unsigned flags = 0) const;
  Status Unlink(std::string_view path) const;     // not a directory
  Status RemoveDir(std::string_view path) const;  // an empty one
  // Everything at and below; missing is success. For "/" the children go and the root stays.
  Status RemoveTree(std::string_view path) const;

  Status Chown(std::string_view path, uid_t uid, gid_t gid) const;
  Status Chmod(std::string_view path, mode_t mode) const;
  Status SetTimes(std::string_view path, WallTime atime, WallTime mtime) const;
  Result<Xattrs> GetXattrs(std::string_view path) const;
  Status SetXattr(std::string_view path, const std::string& attribute,
                  std::string_view value) const;
  Status RemoveXattr(std::string_view path, const std::string& attribute) const;

 private:
  explicit RootedPath(std::shared_ptr<const Fd> root) : root_(std::move(root)) {}

  std::shared_ptr<const Fd> root_;
};

struct WalkEntry {
  const std::string& path;  // relative to the start, "a/b"; "" for the start itself
  int dir;                  // open directory that holds it; for the start, the start itself
  const std::string& name;  // in `dir`; "" for the start
  const FileInfo& info;     // of the entry itself, links not followed
};
enum class WalkNext { kContinue, kSkipDirectory, kStop };
using WalkVisitor = std::function<Result<WalkNext>(const WalkEntry&)>;

inline constexpr size_t kAnyDepth = SIZE_MAX;
struct WalkOptions {
  bool cross_mounts = false;      // enter other mounts below
  bool directories_only = false;  // others are neither looked at nor visited
  // FailedPrecondition beyond: who keeps paths must not be made to keep endless ones.
  size_t max_depth = 4000;
};

// Depth first, parents before children, siblings in bytewise order. Never follows links. An entry
// that vanishes meanwhile is passed over. Uses few descriptors and no stack, however deep the tree;
// one whose directories are moved about meanwhile can end in Aborted.
Status Walk(const RootedPath& root, std::string_view start, const WalkVisitor& visit,
            const WalkOptions& options = {});

}  // namespace kiln::sys
