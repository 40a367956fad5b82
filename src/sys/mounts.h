#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sys/rooted_path.h"

namespace kiln::sys {

struct OverlayMount {
  std::vector<std::string> lowers;  // top first; absolute paths of our own; at least one
  std::string upper;                // empty with `work`: read-only
  std::string work;
  bool userxattr = false;    // rootless
  bool is_volatile = false;  // no syncs: for trees that are thrown away or synced as a whole later
  bool operator==(const OverlayMount&) const = default;
};

struct BindMount {
  std::string source;  // absolute path of our own: a directory or a file
  bool recursive = false;
  bool operator==(const BindMount&) const = default;
};

struct TmpfsMount {
  uint64_t size_bytes = 0;  // 0: the kernel's default
  mode_t mode = 01777;
  uid_t uid = 0;
  gid_t gid = 0;
  bool operator==(const TmpfsMount&) const = default;
};

struct MountFlags {
  bool readonly = false;
  bool nosuid = false;
  bool nodev = false;
  bool noexec = false;
  bool operator==(const MountFlags&) const = default;
};

struct MountDescription {
  std::variant<BindMount, OverlayMount, TmpfsMount> what;
  MountFlags flags;
  bool operator==(const MountDescription&) const = default;
};

// An attached mount; unmounts (lazily, MNT_DETACH) when destroyed.
class Mount {
 public:
  Mount() = default;
  explicit Mount(std::string target) : target_(std::move(target)) {}
  Mount(Mount&& other) noexcept : target_(std::exchange(other.target_, {})) {}
  Mount& operator=(Mount&& other) noexcept;
  ~Mount();

  const std::string& target() const { return target_; }
  bool attached() const { return !target_.empty(); }
  // Unmounts now and says what went wrong. With `lazy`, busy mounts are detached and go when their
  // last user does.
  Status Unmount(bool lazy = true);
  // Gives the duty of unmounting away.
  std::string Release() { return std::exchange(target_, {}); }

 private:
  std::string target_;
};

// A mount that is in no namespace yet: usable through its descriptor (a directory, or a file for a
// bound file), gone when that closes.
class MountTree {
 public:
  explicit MountTree(Fd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  // The tree as a root for paths; keeps the mount alive by itself. FailedPrecondition for a file.
  Result<RootedPath> Root() const;
  Status SetFlags(const MountFlags& flags, bool recursive = true);
  // Attaches at a path of our own; it must exist and be of the same kind.
  Result<Mount> AttachAt(const std::string& target) &&;

 private:
  Fd fd_;
};

struct MounterOptions {
  // Builds overlays through mount(2) and descriptors in one page of options, as kernels need that
  // do not take layers one by one. Unset: whichever this kernel takes.
  std::optional<bool> legacy_overlay;
  // For legacy overlays only: a directory of our own in which a mount point is made for a moment.
  std::string scratch_dir = "/tmp";
};

// Turns descriptions into mounts. Immutable: safe from any thread.
class Mounter {
 public:
  explicit Mounter(MounterOptions options);

  // The most lower layers one overlay takes here; deeper chains must be flattened first.
  size_t max_overlay_lowers() const;
  // Overlays always say metacopy=off,redirect_dir=off,index=off (where the kernel knows them).
  Result<MountTree> Make(const MountDescription& description) const;
  Result<Mount> MountAt(const MountDescription& description, const std::string& target) const;

 private:
  bool legacy_overlay_;
  std::string scratch_dir_;
};

// Whether overlayfs takes its layers one by one (option "lowerdir+"), of which 500 can be stacked.
// False also where there is no overlayfs. Mounts nothing.
bool OverlayTakesLayersOneByOne();

// A copy of the mount at, or the part below, a path of our own.
Result<MountTree> CloneTree(const std::string& path, bool recursive = false);
// The same for an open file or directory (O_PATH suffices). It must lie on an attached mount:
// kernels before 6.15 clone no part of a detached one.
Result<MountTree> CloneTreeFd(int fd, bool recursive = false);

struct MountInfo {
  int id = 0;
  int parent_id = 0;
  std::string root;    // inside its file system
  std::string target;  // unescaped
  std::string options;
  std::string fs_type;
  std::string source;
  std::string super_options;
};
// /proc/self/mountinfo, in its order.
Result<std::vector<MountInfo>> ReadMountInfo();
// Unmounts everything at or below `path`, innermost first. Nothing there is success.
Status UnmountBelow(const std::string& path);

}  // namespace kiln::sys
