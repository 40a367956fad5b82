#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/log_format.h"
#include "base/result.h"
#include "executor/etc_files.h"
#include "oci/platform.h"
#include "registry/hosts.h"
#include "rpc/address.h"
#include "rpc/tls.h"
#include "store/usage.h"

namespace kiln::control {

// A size in a configuration: bytes, or a share of the file system, worked out when the root is
// known.
struct DiskSize {
  uint64_t bytes = 0;
  int percent = 0;  // 0: `bytes` counts
};

struct GcRule {
  bool all = false;
  std::vector<std::string> filters;
  std::chrono::nanoseconds keep_duration{0};
  DiskSize reserved;
  DiskSize max_used;
  DiskSize min_free;
};

// The daemon's settings: buildkitd.toml's keys, overridden by flags. A plain value.
struct Config {
  std::string root = "/var/lib/kiln";
  std::optional<LogLevel> log_level;
  LogFormat log_format = LogFormat::kText;
  std::vector<std::string> addresses;
  rpc::SocketOwner socket_owner;
  rpc::TlsFiles tls;
  // "network.host", "security.insecure"; "device" goes without saying unless cdi_disabled.
  std::set<std::string> entitlements;
  bool cdi_disabled = false;
  // Of ascending priority; empty: the default ones.
  std::vector<std::string> cdi_spec_dirs;
  std::vector<std::string> cdi_auto_allowed;  // devices or kinds that need no --allow
  executor::DnsConfig dns;
  registry::HostConfigs registries;
  int max_registry_concurrency = 4;
  // What a client has to answer a question about its credentials; 0: any time.
  std::chrono::nanoseconds session_auth_timeout = std::chrono::seconds(60);
  bool dockerfile_frontend = true;
  bool gateway_frontend = true;
  // Images that may be asked for as frontends, without tags; empty: all.
  std::vector<std::string> gateway_repositories;
  bool record_history = true;
  // Of ended builds, beyond so many those that are older go.
  std::chrono::nanoseconds history_max_age = std::chrono::hours(48);
  int history_max_entries = 50;
  // What running builds have to end after the first SIGTERM.
  std::chrono::nanoseconds drain_timeout = std::chrono::minutes(5);
  // A registry, web server or git remote that says nothing for so long is given up.
  std::chrono::nanoseconds silence_timeout = std::chrono::minutes(2);

  // The worker.
  std::map<std::string, std::string> labels;
  std::vector<oci::Platform> platforms;  // empty: this machine's
  std::string snapshotter = "auto";      // overlayfs if that works here, else native
  std::string runtime_binary;
  std::string cgroup_parent;
  std::string apparmor_profile;
  std::string network_mode = "host";  // "host" or "none"
  int max_parallelism = 0;            // 0: as many as there are processors, at least 4
  bool gc = true;
  std::optional<DiskSize> reserved;
  std::optional<DiskSize> max_used;
  std::optional<DiskSize> min_free;
  std::vector<GcRule> gc_policy;  // replaces the default rules if not empty
};

// Reads a buildkitd.toml over `config`. An error names a key that is unknown, with the nearest
// known one, and one that asks for what is not served; a key that says what is done anyway, or that
// stands in a section which is switched off, is fine.
Status ApplyToml(std::string_view text, Config* config);
// A file that is missing is no error if `optional`.
Status ApplyTomlFile(const std::string& path, bool optional, Config* config);

// "network.host", "security.insecure" or "device"; `invalid entitlement : x`.
Status AddEntitlement(const std::string& name, Config* config);
// "512MB" (binary multiples), "10%", or bytes.
Result<DiskSize> ParseDiskSize(std::string_view text);
// "Reserved[,Free[,Max]]" in millions of bytes (--oci-worker-gc-keepstorage).
Status ApplyKeepStorage(std::string_view text, Config* config);
Result<LogLevel> ParseLogLevel(std::string_view text);
// "text" or "json"; `unsupported log type "x"`.
Result<LogFormat> ParseLogFormat(std::string_view text);
Result<std::vector<oci::Platform>> ParsePlatforms(const std::vector<std::string>& texts);

// The rules as bytes, for a file system of `total` bytes: those configured, else the default ones.
std::vector<store::PruneRule> GcRulesOf(const Config& config, uint64_t total_bytes);

}  // namespace kiln::control
