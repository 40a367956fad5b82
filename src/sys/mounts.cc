#include "sys/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/log.h"
#include "base/strings.h"

namespace kiln::sys {
namespace {

// fsconfig(2) takes strings of at most 255 bytes; a longer path is given as /proc/self/fd/N.
constexpr size_t kMaxConfigString = 250;
constexpr size_t kMaxLowersOneByOne = 500;  // OVL_MAX_STACK of the kernel
// One page of options; the other options and the upper layer take less than 512 bytes of it,
// "/proc/self/fd/NNNNNN:" is 21.
constexpr size_t kMaxLowersLegacy = (4096 - 512) / 21;

unsigned long AttributeBits(const MountFlags& flags) {
  unsigned long bits = 0;
  if (flags.readonly) bits |= MOUNT_ATTR_RDONLY;
  if (flags.nosuid) bits |= MOUNT_ATTR_NOSUID;
  if (flags.nodev) bits |= MOUNT_ATTR_NODEV;
  if (flags.noexec) bits |= MOUNT_ATTR_NOEXEC;
  return bits;
}

// A file system being configured. Its descriptor also carries the kernel's own words about what it
// does not like.
class FsContext {
 public:
  static Result<FsContext> Open(const char* type) {
    int fd = fsopen(type, FSOPEN_CLOEXEC);
    if (fd < 0) return ErrnoError(errno, "mount {}", type);
    return FsContext(type, Fd(fd));
  }

  Status SetString(const char* key, const std::string& value) {
    if (fsconfig(fd_.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0) != 0) {
      return Failure(errno, fmt::format("option {}={}", key, value));
    }
    return OkStatus();
  }

  Status SetFlag(const char* key) {
    if (fsconfig(fd_.get(), FSCONFIG_SET_FLAG, key, nullptr, 0) != 0)
      return Failure(errno, fmt::format("option {}", key));
    return OkStatus();
  }

  // A path of any length.
  Status SetDirectory(const char* key, const std::string& path) {
    if (path.size() <= kMaxConfigString) return SetString(key, path);
    TRY_ASSIGN(Fd directory, OpenFile(path, O_PATH | O_DIRECTORY));
    held_.push_back(std::move(directory));
    return SetString(key, fmt::format("/proc/self/fd/{}", held_.back().get()));
  }

  Result<MountTree> Create(const MountFlags& flags) {
    if (fsconfig(fd_.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
      return Failure(errno, "create");
    int mount = fsmount(fd_.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(AttributeBits(flags)));
    if (mount < 0) return Failure(errno, "mount");
    return MountTree(Fd(mount));
  }

 private:
  FsContext(const char* type, Fd fd) : type_(type), fd_(std::move(fd)) {}

  Error Failure(int error_number, const std::string& what) {
    std::string kernel_says;
    char message[512];
    for (ssize_t got; (got = read(fd_.get(), message, sizeof message)) > 0;) {
      std::string_view text(message, static_cast<size_t>(got));
      if (text.size() > 2 && text[1] == ' ') text.remove_prefix(2);  // "e " severity
      kernel_says += fmt::format(" ({})", Trim(text));
    }
    return ErrnoError(error_number, "mount {}: {}{}", type_, what, kernel_says);
  }

  const char* type_;
  Fd fd_;
  std::vector<Fd> held_;
};

Result<MountTree> MakeOverlay(const OverlayMount& overlay, const MountFlags& flags) {
  TRY_ASSIGN(FsContext context, FsContext::Open("overlay"));
  for (const std::string& lower : overlay.lowers) TRY(context.SetDirectory("lowerdir+", lower));
  if (!overlay.upper.empty()) {
    TRY(context.SetDirectory("upperdir", overlay.upper));
    TRY(context.SetDirectory("workdir", overlay.work));
  }
  TRY(context.SetString("metacopy", "off"));
  TRY(context.SetString("redirect_dir", "off"));
  TRY(context.SetString("index", "off"));
  if (overlay.userxattr) TRY(context.SetFlag("userxattr"));
  if (overlay.is_volatile && !overlay.upper.empty()) TRY(context.SetFlag("volatile"));
  return context.Create(flags);
}

// A directory that is there for a moment.
class ScratchDirectory {
 public:
  static Result<ScratchDirectory> Create(const std::string& parent) {
    std::string path = parent + "/kiln-mount-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) return ErrnoError(errno, "make directory in {}", parent);
    return ScratchDirectory(std::move(path));
  }
  ScratchDirectory(ScratchDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchDirectory& operator=(ScratchDirectory&&) = delete;
  ~ScratchDirectory() {
    if (!path_.empty()) rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Older kernels take overlay's options only as one page of text. Descriptors keep the names short
// without a change of directory.
Result<MountTree> MakeLegacyOverlay(const OverlayMount& overlay, const MountFlags& flags,
                                    const std::string& scratch_parent) {
  std::vector<Fd> held;
  auto name_of = [&](const std::string& path) -> Result<std::string> {
    TRY_ASSIGN(Fd directory, OpenFile(path, O_PATH | O_DIRECTORY));
    held.push_back(std::move(directory));
    return fmt::format("/proc/self/fd/{}", held.back().get());
  };
  std::string options = "metacopy=off,redirect_dir=off,index=off";
  if (overlay.userxattr) options += ",userxattr";
  if (overlay.is_volatile && !overlay.upper.empty()) options += ",volatile";
  if (!overlay.upper.empty()) {
    TRY_ASSIGN(std::string upper, name_of(overlay.upper));
    TRY_ASSIGN(std::string work, name_of(overlay.work));
    options += fmt::format(",upperdir={},workdir={}", upper, work);
  }
  options += ",lowerdir=";
  for (size_t i = 0; i < overlay.lowers.size(); ++i) {
    TRY_ASSIGN(std::string lower, name_of(overlay.lowers[i]));
    options += (i == 0 ? "" : ":") + lower;
  }
  if (options.size() >= 4096) {
    return FailedPrecondition("mount overlay: {} layers are more than this kernel takes",
                              overlay.lowers.size());
  }
  TRY_ASSIGN(ScratchDirectory scratch, ScratchDirectory::Create(scratch_parent));
  if (mount("overlay", scratch.path().c_str(), "overlay", 0, options.c_str()) != 0) {
    return ErrnoError(errno, "mount overlay: {} layers", overlay.lowers.size());
  }
  Mount attached(scratch.path());
  TRY_ASSIGN(MountTree tree, CloneTree(scratch.path()));
  TRY(attached.Unmount());
  TRY(tree.SetFlags(flags, false));
  return tree;
}

Result<MountTree> MakeTmpfs(const TmpfsMount& tmpfs, const MountFlags& flags) {
  TRY_ASSIGN(FsContext context, FsContext::Open("tmpfs"));
  if (tmpfs.size_bytes != 0) TRY(context.SetString("size", std::to_string(tmpfs.size_bytes)));
  TRY(context.SetString("mode", fmt::format("{:o}", tmpfs.mode)));
  TRY(context.SetString("uid", std::to_string(tmpfs.uid)));
  TRY(context.SetString("gid", std::to_string(tmpfs.gid)));
  return context.Create(flags);
}

Result<MountTree> MakeBind(const BindMount& bind, const MountFlags& flags) {
  TRY_ASSIGN(MountTree tree, CloneTree(bind.source, bind.recursive));
  TRY_CTX(tree.SetFlags(flags, bind.recursive), "bind {}", bind.source);
  return tree;
}

}  // namespace

Mount& Mount::operator=(Mount&& other) noexcept {
  if (this != &other) {
    if (auto status = Unmount(); !status.ok()) LOG_WARNING("{}", status.error());
    target_ = std::exchange(other.target_, {});
  }
  return *this;
}

Mount::~Mount() {
  if (auto status = Unmount(); !status.ok()) LOG_WARNING("{}", status.error());
}

Status Mount::Unmount(bool lazy) {
  if (target_.empty()) return OkStatus();
  if (umount2(target_.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) != 0) {
    Error error = ErrnoError(errno, "unmount {}", target_);
    if (lazy) target_.clear();  // a second try would fail alike
    return error;
  }
  target_.clear();
  return OkStatus();
}

Result<RootedPath> MountTree::Root() const {
  TRY_ASSIGN(FileInfo info, StatFd(fd_.get()));
  if (!info.IsDirectory()) return FailedPrecondition("the mount is a file, not a directory");
  TRY_ASSIGN(Fd copy, fd_.Dup());
  return RootedPath::FromFd(std::move(copy));
}

Status MountTree::SetFlags(const MountFlags& flags, bool recursive) {
  mount_attr attributes{};
  attributes.attr_set = AttributeBits(flags);
  if (attributes.attr_set == 0) return OkStatus();
  if (mount_setattr(fd_.get(), "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes,
                    sizeof attributes) != 0) {
    return ErrnoError(errno, "set mount flags");
  }
  return OkStatus();
}

Result<Mount> MountTree::AttachAt(const std::string& target) && {
  if (move_mount(fd_.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return ErrnoError(errno, "mount at {}", target);
  }
  fd_.Reset();
  return Mount(target);
}

bool OverlayTakesLayersOneByOne() {
  const Fd context(fsopen("overlay", FSOPEN_CLOEXEC));
  if (!context) return false;
  // Old kernels collect whatever they are given and look at it when the mount is created. Newer
  // ones look at each option as it comes.
  if (fsconfig(context.get(), FSCONFIG_SET_FLAG, "no-such-option", nullptr, 0) == 0) return false;
  return fsconfig(context.get(), FSCONFIG_SET_STRING, "lowerdir+", "/", 0) == 0;
}

Mounter::Mounter(MounterOptions options)
    : legacy_overlay_(options.legacy_overlay ? *options.legacy_overlay
                                             : !OverlayTakesLayersOneByOne()),
      scratch_dir_(std::move(options.scratch_dir)) {}

size_t Mounter::max_overlay_lowers() const {
  return legacy_overlay_ ? kMaxLowersLegacy : kMaxLowersOneByOne;
}

Result<MountTree> Mounter::Make(const MountDescription& description) const {
  if (const auto* bind = std::get_if<BindMount>(&description.what))
    return MakeBind(*bind, description.flags);
  if (const auto* tmpfs = std::get_if<TmpfsMount>(&description.what))
    return MakeTmpfs(*tmpfs, description.flags);
  const auto& overlay = std::get<OverlayMount>(description.what);
  if (overlay.lowers.empty()) return InvalidArgument("mount overlay: no lower layer");
  if (overlay.upper.empty() != overlay.work.empty())
    return InvalidArgument("mount overlay: upper without work or work without upper");
  if (overlay.lowers.size() > max_overlay_lowers()) {
    return FailedPrecondition("mount overlay: {} layers, at most {} can be stacked",
                              overlay.lowers.size(), max_overlay_lowers());
  }
  // The kernel stacks nothing less than two layers.
  if (overlay.upper.empty() && overlay.lowers.size() == 1) {
    MountFlags flags = description.flags;
    flags.readonly = true;
    return MakeBind({.source = overlay.lowers[0]}, flags);
  }
  if (legacy_overlay_) return MakeLegacyOverlay(overlay, description.flags, scratch_dir_);
  return MakeOverlay(overlay, description.flags);
}

Result<Mount> Mounter::MountAt(const MountDescription& description,
                               const std::string& target) const {
  TRY_ASSIGN(MountTree tree, Make(description));
  return std::move(tree).AttachAt(target);
}

Result<MountTree> CloneTree(const std::string& path, bool recursive) {
  int fd = open_tree(AT_FDCWD, path.c_str(),
                     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0u));
  if (fd < 0) return ErrnoError(errno, "bind {}", path);
  return MountTree(Fd(fd));
}

Result<MountTree> CloneTreeFd(int fd, bool recursive) {
  int tree = open_tree(
      fd, "",
      AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0u));
  if (tree < 0) return ErrnoError(errno, "bind descriptor");
  return MountTree(Fd(tree));
}

}  // namespace kiln::sys
