#include "sys/kernel.h"

#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
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
    for (const char* name : {"/lower1", "/lower2", "/upper", "/work"}) {
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

  bool Works(bool legacy, bool userxattr) const {
    Mounter mounter({.legacy_overlay = legacy, .scratch_dir = path_});
    OverlayMount overlay{.lowers = {path_ + "/lower1", path_ + "/lower2"},
                         .upper = path_ + "/upper",
                         .work = path_ + "/work",
                         .userxattr = userxattr,
                         .is_volatile = true};  // else unmounting syncs the file system
    return mounter.Make({.what = overlay}).ok();
  }

 private:
  explicit OverlayTrial(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

bool HasSeccompFilter() {
  // With no program the kernel answers EFAULT if it knows filters at all, EINVAL if not.
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, nullptr) != 0 && errno == EFAULT;
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
  TRY_ASSIGN(IdMap uids, IdMap::OwnUids());
  features.user_namespace = !uids.identity();
  TRY_ASSIGN(OverlayTrial trial, OverlayTrial::Create(scratch_dir));
  features.overlay_lowerdir_plus = trial.Works(/*legacy=*/false, features.user_namespace);
  features.overlay =
      features.overlay_lowerdir_plus || trial.Works(/*legacy=*/true, features.user_namespace);
  return features;
}

}  // namespace kiln::sys
