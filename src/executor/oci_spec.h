#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "executor/process_spec.h"
#include "executor/user.h"
#include "sys/kernel.h"

namespace kiln::executor {

// One entry of the spec's `mounts`.
struct SpecMount {
  std::string target;
  std::string type;
  std::string source;
  std::vector<std::string> options;
};

// What a config.json is made from, all of it resolved: no decision that needs the disk remains.
struct OciSpecInput {
  const ProcessSpec* process = nullptr;
  std::string id;
  std::string rootfs;  // absolute
  UserIds user;
  std::vector<SpecMount> mounts;  // of the step, and resolv.conf and hosts; any order
  std::string resolv_conf;        // files of ours; empty: not bound
  std::string hosts;
  std::string cgroups_path;
  std::string apparmor_profile;
  sys::CgroupMode cgroup = sys::CgroupMode::kNone;
  bool rootless = false;
  bool seccomp = true;
  int oom_score_adjustment = 0;               // our own: a negative one is not passed on
  std::vector<std::string> own_capabilities;  // for security.insecure
};

// The text of config.json (OCI runtime-spec 1.0.2).
std::string MakeOciSpec(const OciSpecInput& input);

// `/kiln/<id>` below the parent, or for systemd's "x.slice:…:" the parent and the id. "" when
// rootless.
std::string CgroupsPath(const std::string& parent, const std::string& id, bool rootless);
// Environment of the process: later duplicates win in the place of the first, entries without "="
// remove, PATH is added.
std::vector<std::string> EffectiveEnv(const std::vector<std::string>& env);
// `cwd` as an absolute, cleaned path.
std::string AbsoluteCwd(const std::string& cwd);

}  // namespace kiln::executor
