#include "sys/kernel.h"

#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/fd.h"
#include "base/strings.h"
#include "sys/file_info.h"
#include "sys/id_map.h"
#include "sys/mounts.h"

namespace kiln::sys {
namespace {

// lower1, lower2, upper and work in a directory of their own, removed at the end.
class OverlayTrial {
 public:
  static Result<OverlayTrial> Create(const std::string& parent) {
    std::string path = parent + "/kiln-probe-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) return ErrnoError(errno, "make directory in {}", parent);
    OverlayTrial trial(path);
    for (const char* name : {"/lower1", "/lower2", "/lower2/d", "/lower2/d/e", "/upper", "/work"}) {
      if (mkdir((path + name).c_str(), 0700) != 0)
        return ErrnoError(errno, "make directory {}{}", path, name);
    }
    return trial;
  }
  OverlayTrial(OverlayTrial&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  OverlayTrial& operator=(OverlayTrial&&) = delete;
  ~OverlayTrial() {
    if (!path_.empty()) (void)RemoveTree(path_).ok();
  }

  // Without userxattr an overlay in a user namespace can be mounted, but fails when a directory of
  // a lower layer is removed: so one is.
  bool Works(bool legacy, bool userxattr) const {
    Mounter mounter({.legacy_overlay = legacy, .scratch_dir = path_});
    OverlayMount overlay{.lowers = {path_ + "/lower1", path_ + "/lower2"},
                         .upper = path_ + "/upper",
                         .work = path_ + "/work",
                         .userxattr = userxattr,
                         .is_volatile = true};  // else unmounting syncs the file system
    const Result<MountTree> tree = mounter.Make({.what = overlay});
    if (!tree.ok()) return false;
    const Result<RootedPath> root = tree->Root();
    const bool works = root.ok() && root->RemoveTree("d").ok() && root->MakeDir("d", 0700).ok();
    // As it was, for the next trial.
    return RemoveTree(path_ + "/upper/d").ok() && works;
  }

  // Another owner, and a device node: what a layer may ask for.
  bool CanChown() const { return chown((path_ + "/upper").c_str(), 1, 1) == 0; }
  bool CanMknod() const {
    return mknod((path_ + "/null").c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0;
  }

 private:
  explicit OverlayTrial(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

bool HasSeccompFilter() {
  // With no program the kernel answers EFAULT if it knows filters at all, EINVAL if not.
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, nullptr) != 0 && errno == EFAULT;
}

// With arguments that no kernel takes: one that knows the call says what is wrong with them.
std::vector<std::string> MissingCalls() {
  struct Trial {
    const char* name;
    long number;
  };
  constexpr Trial kTrials[] = {{"pidfd_open", SYS_pidfd_open},      {"openat2", SYS_openat2},
                               {"close_range", SYS_close_range},    {"fsopen", SYS_fsopen},
                               {"move_mount", SYS_move_mount},      {"open_tree", SYS_open_tree},
                               {"mount_setattr", SYS_mount_setattr}};
  std::vector<std::string> missing;
  for (const Trial& trial : kTrials) {
    if (syscall(trial.number, -1L, -1L, -1L, -1L, -1L) < 0 && errno == ENOSYS)
      missing.emplace_back(trial.name);
  }
  return missing;
}

}  // namespace

std::string_view CgroupModeName(CgroupMode mode) {
  switch (mode) {
    case CgroupMode::kNone:
      return "none";
    case CgroupMode::kV1:
      return "v1";
    case CgroupMode::kHybrid:
      return "hybrid";
    case CgroupMode::kV2:
      return "v2";
  }
  return "none";
}

CgroupMode DetectCgroupMode(const std::vector<MountInfo>& mounts) {
  bool v1 = false;
  bool v2 = false;
  for (const MountInfo& mount : mounts) {
    if (mount.fs_type == "cgroup") v1 = true;
    if (mount.fs_type == "cgroup2") v2 = true;
    if (mount.fs_type == "cgroup2" && mount.target == "/sys/fs/cgroup") return CgroupMode::kV2;
  }
  if (v1) return v2 ? CgroupMode::kHybrid : CgroupMode::kV1;
  return CgroupMode::kNone;
}

KernelVersion CurrentKernelVersion() {
  utsname name{};
  KernelVersion version;
  if (uname(&name) != 0) return version;
  char* rest = nullptr;
  version.major = static_cast<int>(std::strtol(name.release, &rest, 10));
  if (*rest == '.') version.minor = static_cast<int>(std::strtol(rest + 1, nullptr, 10));
  return version;
}

Result<KernelFeatures> ProbeKernel(const std::string& scratch_dir) {
  KernelFeatures features;
  features.version = CurrentKernelVersion();
  TRY_ASSIGN(std::vector<MountInfo> mounts, ReadMountInfo());
  features.cgroup = DetectCgroupMode(mounts);
  features.seccomp_filter = HasSeccompFilter();
  features.missing_calls = MissingCalls();
  TRY_ASSIGN(IdMap uids, IdMap::OwnUids());
  features.user_namespace = !uids.identity();
  features.privileges.userxattr = features.user_namespace;
  TRY_ASSIGN(OverlayTrial trial, OverlayTrial::Create(scratch_dir));
  features.overlay_lowerdir_plus = OverlayTakesLayersOneByOne();
  features.overlay =
      trial.Works(/*legacy=*/!features.overlay_lowerdir_plus, features.privileges.userxattr);
  features.privileges.can_chown = trial.CanChown();
  features.privileges.can_mknod = trial.CanMknod();
  return features;
}

Status CheckUsable(const KernelFeatures& features) {
  if (features.missing_calls.empty()) return OkStatus();
  return FailedPrecondition(
      "kernel {}.{} has no {}: Linux 5.12 or newer is needed, or a sandbox around this process "
      "that "
      "lets these calls through",
      features.version.major, features.version.minor, Join(features.missing_calls, ", "));
}

std::vector<Shortcoming> Shortcomings(const KernelFeatures& features) {
  std::vector<Shortcoming> all;
  const auto say = [&](const std::string& sentence, bool minor = false) {
    all.push_back({minor, fmt::format("kernel {}.{}: {}", features.version.major,
                                      features.version.minor, sentence)});
  };
  if (!features.overlay) {
    say("overlayfs does not work here: each step gets a copy of all files of its image, which "
        "costs time and disk space");
  } else if (!features.overlay_lowerdir_plus) {
    const size_t most = Mounter({.legacy_overlay = true}).max_overlay_lowers();
    const size_t usual = Mounter({.legacy_overlay = false}).max_overlay_lowers();
    say(fmt::format("a mount stacks at most {} layers in place of {}: of longer chains the lower "
                    "layers are copied into one, once",
                    most, usual),
        /*minor=*/true);
  }
  if (!features.seccomp_filter) say("no seccomp filters: steps may call all the kernel has");
  if (features.cgroup == CgroupMode::kNone) {
    say("no cgroup file system is mounted: container runtimes refuse to run steps (mount one at "
        "/sys/fs/cgroup)");
  }
  if (!features.privileges.can_chown)
    say("owners of files cannot be set: files of images belong to the user who builds");
  if (!features.privileges.can_mknod) say("no device nodes can be made: images lose theirs");
  return all;
}

Mounter MakeMounter(const KernelFeatures& features, std::string scratch_dir) {
  return Mounter(
      {.legacy_overlay = !features.overlay_lowerdir_plus, .scratch_dir = std::move(scratch_dir)});
}

}  // namespace kiln::sys
