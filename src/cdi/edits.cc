#include "cdi/edits.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <string_view>
#include <system_error>

#include "base/lists.h"
#include "base/strings.h"

namespace kiln::cdi {
namespace {

constexpr std::array<std::string_view, 6> kHookNames = {
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"};
constexpr std::array<std::string_view, 5> kNodeTypes = {"", "b", "c", "u", "p"};
constexpr size_t kMostFileName = 4096;

template <typename T>
void AppendTo(std::vector<T>& list, const std::vector<T>& more) {
  list.insert(list.end(), more.begin(), more.end());
}

Status ValidateEnv(const std::vector<std::string>& env) {
  for (const std::string& entry : env) {
    const size_t at = entry.find('=');
    if (at == 0 || at == std::string::npos)
      return InvalidArgument("invalid environment variable {}", Quoted(entry));
  }
  return OkStatus();
}

Status Validate(const DeviceNode& node) {
  if (node.path.empty()) return InvalidArgument("invalid (empty) device path");
  if (!Contains(kNodeTypes, node.type))
    return InvalidArgument("device {}: invalid type {}", Quoted(node.path), Quoted(node.type));
  if (node.permissions != "none" && node.permissions.find_first_not_of("rwm") != std::string::npos)
    return InvalidArgument("device {}: invalid permissions {}", Quoted(node.path),
                           Quoted(node.permissions));
  return OkStatus();
}

Status Validate(const Hook& hook) {
  if (!Contains(kHookNames, hook.name))
    return InvalidArgument("invalid hook name {}", Quoted(hook.name));
  if (hook.path.empty())
    return InvalidArgument("invalid hook {} with empty path", Quoted(hook.name));
  TRY_CTX(ValidateEnv(hook.env), "invalid hook {}", Quoted(hook.name));
  return OkStatus();
}

Status Validate(const Mount& mount) {
  if (mount.host_path.empty()) return InvalidArgument("invalid mount, empty host path");
  if (mount.container_path.empty()) return InvalidArgument("invalid mount, empty container path");
  return OkStatus();
}

Status Validate(const IntelRdt& rdt) {
  const std::string& id = rdt.clos_id;
  if (id == "/") return OkStatus();
  if (id.size() >= kMostFileName || id == "." || id == ".." ||
      id.find_first_of("/\n") != std::string::npos)
    return InvalidArgument("invalid ClosID");
  return OkStatus();
}

Status Validate(const std::vector<NetDevice>& devices) {
  std::map<std::string_view, std::string_view> by_host;
  std::map<std::string_view, std::string_view> by_name;
  for (const NetDevice& device : devices) {
    if (device.host_interface.empty())
      return InvalidArgument("invalid linux net device, empty HostInterfaceName");
    if (device.name.empty()) return InvalidArgument("invalid linux net device, empty Name");
    if (!by_host.emplace(device.host_interface, device.name).second)
      return InvalidArgument("invalid linux net device, duplicate HostInterfaceName {}",
                             Quoted(device.host_interface));
    if (!by_name.emplace(device.name, device.host_interface).second)
      return InvalidArgument("invalid linux net device, duplicate Name {}", Quoted(device.name));
  }
  return OkStatus();
}

// "" for what is no device node.
std::string_view TypeOf(mode_t mode) {
  if (S_ISBLK(mode)) return "b";
  if (S_ISCHR(mode)) return "c";
  if (S_ISFIFO(mode)) return "p";
  return {};
}

Status Fill(DeviceNode& node) {
  const bool complete = !node.type.empty() && (node.major != 0 || node.type == "p");
  if (node.host_path.empty()) node.host_path = node.path;
  struct stat info{};
  const bool found = lstat(node.host_path.c_str(), &info) == 0;
  const int error = errno;
  const std::string_view type = found ? TypeOf(info.st_mode) : std::string_view();
  if (type.empty()) {
    if (complete) return OkStatus();
    const std::string why =
        found ? "not a device node" : ToLower(std::generic_category().message(error));
    return FailedPrecondition("failed to stat CDI host device {}: {}", Quoted(node.host_path), why);
  }
  if (!node.file_mode) node.file_mode = info.st_mode & ~static_cast<mode_t>(S_IFMT);
  if (complete) return OkStatus();
  if (node.type.empty()) node.type = type;
  if (node.type != type)
    return FailedPrecondition("CDI device ({}, {}), host type mismatch ({}, {})", Quoted(node.path),
                              Quoted(node.host_path), node.type, type);
  if (node.type != "p" && node.major == 0) {
    node.major = major(info.st_rdev);
    node.minor = minor(info.st_rdev);
  }
  return OkStatus();
}

}  // namespace

bool ContainerEdits::empty() const {
  return env.empty() && device_nodes.empty() && net_devices.empty() && mounts.empty() &&
         hooks.empty() && !intel_rdt && additional_gids.empty();
}

void ContainerEdits::Append(const ContainerEdits& more) {
  AppendTo(env, more.env);
  AppendTo(device_nodes, more.device_nodes);
  AppendTo(net_devices, more.net_devices);
  AppendTo(mounts, more.mounts);
  AppendTo(hooks, more.hooks);
  if (more.intel_rdt) intel_rdt = more.intel_rdt;
  AppendTo(additional_gids, more.additional_gids);
}

Status Validate(const ContainerEdits& edits) {
  TRY_CTX(ValidateEnv(edits.env), "invalid container edits");
  for (const DeviceNode& node : edits.device_nodes) TRY(Validate(node));
  for (const Hook& hook : edits.hooks) TRY(Validate(hook));
  for (const Mount& mount : edits.mounts) TRY(Validate(mount));
  if (edits.intel_rdt) TRY(Validate(*edits.intel_rdt));
  return Validate(edits.net_devices);
}

Status FillFromHost(ContainerEdits& edits) {
  for (DeviceNode& node : edits.device_nodes) TRY(Fill(node));
  return OkStatus();
}

}  // namespace kiln::cdi
