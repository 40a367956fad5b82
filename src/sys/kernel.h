#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/mounts.h"

namespace kiln::sys {

enum class CgroupMode {
  kNone,
  kV1,      // controllers in v1 hierarchies, no v2 tree
  kHybrid,  // controllers in v1 hierarchies, an empty v2 tree beside them
  kV2,
};
std::string_view CgroupModeName(CgroupMode mode);

struct KernelVersion {
  int major = 0;
  int minor = 0;
  auto operator<=>(const KernelVersion&) const = default;
};

struct KernelFeatures {
  KernelVersion version;
  CgroupMode cgroup = CgroupMode::kNone;
  bool overlay = false;  // overlayfs can be mounted here (in a user namespace: with userxattr)
  bool overlay_lowerdir_plus = false;  // layers one by one ("lowerdir+", 6.5)
  bool seccomp_filter = false;
  bool user_namespace = false;  // we are in one that is not the initial one
};

// What this kernel offers us, found by trying. `scratch_dir` is a directory of our own on the file
// system that will hold snapshots; what is tried there leaves nothing. Takes a millisecond; call it
// once.
Result<KernelFeatures> ProbeKernel(const std::string& scratch_dir);
CgroupMode DetectCgroupMode(const std::vector<MountInfo>& mounts);
KernelVersion CurrentKernelVersion();

}  // namespace kiln::sys
