#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/secret.h"
#include "cdi/edits.h"
#include "sys/mounts.h"

namespace kiln::executor {

enum class NetworkMode {
  kHost,  // the daemon's own network
  kNone,  // an empty network namespace
};

enum class SecurityMode {
  kSandbox,
  kInsecure,  // all the daemon's capabilities and devices, no seccomp: the caller has checked the
              // entitlement
};

// A file that exists only while the process runs, on a tmpfs of its own.
struct SecretFile {
  SecretString data;
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t mode = 0400;
};

// Something to be seen at `target` inside the container.
struct StepMount {
  std::string target;  // absolute
  // A MountDescription is made and bound; a tmpfs is fresh for each run.
  std::variant<sys::MountDescription, SecretFile> what;
  // Path inside a described tree (links stay inside it): only that part, a directory or a file, is
  // bound. "" or "/": all of it.
  std::string selector;
};

struct ExtraHost {
  std::string host;
  std::string ip;
};

struct Ulimit {
  std::string name;  // "nofile"
  int64_t soft = 0;
  int64_t hard = 0;
};

// 0 and "": no limit.
struct ResourceLimits {
  int64_t memory_bytes = 0;
  int64_t memory_swap_bytes = 0;  // memory and swap together; -1: unlimited
  uint64_t cpu_shares = 0;
  uint64_t cpu_period_us = 0;
  int64_t cpu_quota_us = 0;
  std::string cpuset_cpus;
  std::string cpuset_mems;
};

inline constexpr const char* kDefaultHostname = "buildkitsandbox";
inline constexpr const char* kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// A process and the world it sees. A plain value.
struct ProcessSpec {
  sys::MountDescription root;  // writable, also for a read-only step: mount points are made in it
  bool readonly_root = false;  // for the process
  std::vector<StepMount> mounts;  // any order; of two with one target the later counts

  std::vector<std::string> args;
  std::vector<std::string> env;  // KEY=value; later duplicates win; PATH is added if absent
  std::string cwd = "/";         // made if missing, owned by the user
  std::string
      user;  // "U[:G]", names looked up in the root's /etc/passwd and /etc/group; "" is root

  std::string hostname = kDefaultHostname;
  std::vector<ExtraHost> extra_hosts;
  NetworkMode network = NetworkMode::kHost;
  SecurityMode security = SecurityMode::kSandbox;
  std::vector<Ulimit> ulimits;  // empty: ours
  ResourceLimits limits;
  std::string cgroup_parent;  // over the executor's own
  // What devices change. Their mounts lie under the step's own; their device nodes are complete
  // (cdi::FillFromHost).
  cdi::ContainerEdits device_edits;

  // Directories that had to be made above a mount point go too when empty. Off, they stay, as old
  // clients expect.
  bool remove_stubs_recursively = true;
};

}  // namespace kiln::executor
