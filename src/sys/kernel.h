#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/mounts.h"
#include "sys/privileges.h"

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
  bool overlay = false;                // overlayfs works here (in a user namespace: with userxattr)
  bool overlay_lowerdir_plus = false;  // layers one by one ("lowerdir+")
  bool seccomp_filter = false;
  bool user_namespace = false;  // we are in one that is not the initial one
  Privileges privileges;
  std::vector<std::string> missing_calls;  // system calls we cannot do without
};

// What this kernel offers us, found by trying. `scratch_dir` is a directory of our own on the file
// system that will hold snapshots; what is tried there leaves nothing. Takes a millisecond; call it
// once.
Result<KernelFeatures> ProbeKernel(const std::string& scratch_dir);
// FailedPrecondition, with what to do, if nothing can be built with this kernel.
Status CheckUsable(const KernelFeatures& features);
// What this kernel has not and what that costs: a sentence each, for the log at start.
struct Shortcoming {
  bool minor = false;  // few will notice
  std::string sentence;
};
std::vector<Shortcoming> Shortcomings(const KernelFeatures& features);
// The mounter for these features; `scratch_dir` as in MounterOptions.
Mounter MakeMounter(const KernelFeatures& features, std::string scratch_dir);

CgroupMode DetectCgroupMode(const std::vector<MountInfo>& mounts);
KernelVersion CurrentKernelVersion();

}  // namespace kiln::sys
