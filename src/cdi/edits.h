#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace kiln::cdi {

// What devices change in a container: `containerEdits` of the Container Device Interface 1.1.0.
// Unset where the file says nothing.

struct DeviceNode {
  std::string path;       // in the container
  std::string host_path;  // "": `path`
  std::string type;       // "b", "c", "u" or "p"; "": what lies at the host's path
  int64_t major = 0;
  int64_t minor = 0;
  std::optional<mode_t> file_mode;
  std::string permissions;  // of the cgroup, of "rwm"; "": all; "none": none
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
};

struct Mount {
  std::string host_path;
  std::string container_path;
  std::string type;
  std::vector<std::string> options;
};

struct Hook {
  std::string name;  // "createRuntime", …
  std::string path;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::optional<int64_t> timeout;  // seconds
};

struct IntelRdt {
  std::string clos_id;
  std::string l3_cache_schema;
  std::string mem_bw_schema;
  std::optional<std::vector<std::string>> schemata;
  bool enable_monitoring = false;
};

struct NetDevice {
  std::string host_interface;
  std::string name;  // in the container
};

struct ContainerEdits {
  std::vector<std::string> env;  // NAME=value; takes the place of a variable of that name
  std::vector<DeviceNode> device_nodes;
  std::vector<NetDevice> net_devices;
  std::vector<Mount> mounts;
  std::vector<Hook> hooks;
  std::optional<IntelRdt> intel_rdt;
  std::vector<uint32_t> additional_gids;

  bool empty() const;
  void Append(const ContainerEdits& more);
};

// `invalid container edits: …` and the like.
Status Validate(const ContainerEdits& edits);

// Gives every device node the type, numbers and mode that it lacks, from the node at its host path.
// `failed to stat CDI host device "/dev/x": …` where they are needed and cannot be had.
Status FillFromHost(ContainerEdits& edits);

}  // namespace kiln::cdi
