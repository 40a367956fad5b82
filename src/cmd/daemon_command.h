#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/config.h"

namespace CLI {
class App;
}
namespace kiln::sys {
class Spawner;
}

namespace kiln::cmd {

// kilnd's command line: the flags of buildkitd. Values go over those of the
// configuration file.
struct DaemonFlags {
  std::string config_file;
  std::string root;
  std::vector<std::string> addresses;
  std::string group;
  std::string log_level;
  std::string log_format;
  std::string tls_cert, tls_key, tls_ca;
  std::vector<std::string> entitlements;
  std::optional<bool> cdi_disabled;
  std::vector<std::string> cdi_spec_dirs;
  std::vector<std::string> labels;
  std::vector<std::string> platforms;
  std::string snapshotter;
  std::string network;
  std::string runtime_binary;
  std::string apparmor_profile;
  std::string keep_storage;
  int max_parallelism = 0;
  bool debug = false;
  bool gc = true;
  std::string drain_timeout;
};

// Flags of buildkitd that are not served are declared too, so that using them is refused by name.
void AddDaemonOptions(CLI::App& app, DaemonFlags& flags);
Result<control::Config> ConfigOf(const DaemonFlags& flags);

// Serves until SIGTERM or SIGINT, then lets running builds finish for a while. The exit status.
int RunDaemon(const control::Config& config, sys::Spawner& spawner);

}  // namespace kiln::cmd
