#include "executor/oci_spec.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/strings.h"
#include "executor/capabilities.h"
#include "executor/seccomp.h"

namespace kiln::executor {
namespace {

using nlohmann::json;

constexpr const char* kMaskedPaths[] = {"/proc/acpi",
                                        "/proc/asound",
                                        "/proc/kcore",
                                        "/proc/keys",
                                        "/proc/latency_stats",
                                        "/proc/timer_list",
                                        "/proc/timer_stats",
                                        "/proc/sched_debug",
                                        "/proc/scsi",
                                        "/sys/firmware",
                                        "/sys/devices/virtual/powercap"};
constexpr const char* kReadonlyPaths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                          "/proc/sysrq-trigger"};

// Added to a container with security.insecure, where the daemon is not in a user namespace.
struct DeviceNode {
  const char* path;
  int major;
  int minor;
};
constexpr DeviceNode kInsecureDevices[] = {
    {"/dev/kmsg", 1, 11},  {"/dev/cuse", 10, 203},    {"/dev/fuse", 10, 229},
    {"/dev/kvm", 10, 232}, {"/dev/net/tun", 10, 200}, {"/dev/loop-control", 10, 237}};
constexpr int kLoopMajor = 7;
constexpr int kSpareLoops = 7;

class SpecBuilder {
 public:
  explicit SpecBuilder(const OciSpecInput& input)
      : input_(input),
        process_(*input.process),
        edits_(process_.device_edits),
        insecure_(process_.security == SecurityMode::kInsecure) {}

  std::string Build() {
    json spec = {{"ociVersion", "1.0.2"},
                 {"process", Process()},
                 {"root", {{"path", input_.rootfs}, {"readonly", process_.readonly_root}}},
                 {"hostname", process_.hostname},
                 {"mounts", Mounts()},
                 {"linux", Linux()}};
    if (!process_.device_edits.hooks.empty()) spec["hooks"] = Hooks();
    // Arguments need not be UTF-8; what is not becomes U+FFFD, as Go's encoder has it.
    return spec.dump(-1, ' ', false, json::error_handler_t::replace);
  }

 private:
  json Process() const {
    json process = {{"terminal", false},
                    {"user",
                     {{"uid", input_.user.uid},
                      {"gid", input_.user.gid},
                      {"additionalGids", AdditionalGids()}}},
                    {"args", process_.args},
                    {"env", Env()},
                    {"cwd", process_.cwd},  // the runtime refuses one that is not absolute
                    {"capabilities", Capabilities()},
                    {"noNewPrivileges", false}};
    if (input_.oom_score_adjustment < 0) process["oomScoreAdj"] = 0;
    if (!input_.apparmor_profile.empty() && !insecure_)
      process["apparmorProfile"] = input_.apparmor_profile;
    json rlimits = json::array();
    for (const Ulimit& limit : process_.ulimits) {
      // −1 is "unlimited", which the spec writes as the largest number.
      rlimits.push_back({{"type", "RLIMIT_" + ToUpper(limit.name)},
                         {"soft", static_cast<uint64_t>(limit.soft)},
                         {"hard", static_cast<uint64_t>(limit.hard)}});
    }
    if (!rlimits.empty()) process["rlimits"] = rlimits;
    return process;
  }

  std::vector<std::string> Env() const {
    std::vector<std::string> env = EffectiveEnv(process_.env);
    for (const std::string& entry : edits_.env) {
      const std::string name = entry.substr(0, entry.find('=') + 1);
      const auto same = std::find_if(env.begin(), env.end(), [&](const std::string& other) {
        return other.starts_with(name);
      });
      if (same != env.end()) {
        *same = entry;
      } else {
        env.push_back(entry);
      }
    }
    return env;
  }

  std::vector<gid_t> AdditionalGids() const {
    std::vector<gid_t> gids = input_.user.additional_gids;
    for (const uint32_t gid : edits_.additional_gids) {
      if (gid != 0 && std::find(gids.begin(), gids.end(), gid) == gids.end()) gids.push_back(gid);
    }
    return gids;
  }

  json Hooks() const {
    json hooks = json::object();
    for (const cdi::Hook& hook : edits_.hooks) {
      json one = {{"path", hook.path}};
      if (!hook.args.empty()) one["args"] = hook.args;
      if (!hook.env.empty()) one["env"] = hook.env;
      if (hook.timeout) one["timeout"] = *hook.timeout;
      hooks[hook.name].push_back(std::move(one));
    }
    return hooks;
  }

  json Capabilities() const {
    if (!insecure_) {
      const auto& held = SandboxCapabilities();
      return {{"bounding", held}, {"effective", held}, {"permitted", held}};
    }
    std::vector<std::string> held = SandboxCapabilities();
    for (const std::string& name : input_.own_capabilities) {
      if (std::find(held.begin(), held.end(), name) == held.end()) held.push_back(name);
    }
    return {{"bounding", held},
            {"effective", held},
            {"permitted", held},
            {"inheritable", held},
            {"ambient", held}};
  }

  std::vector<SpecMount> DefaultMounts() const {
    std::string access = insecure_ ? "rw" : "ro";
    std::vector<std::string> etc_options = {"nosuid", "noexec", "nodev", "rbind", "ro"};
    std::vector<SpecMount> mounts = {
        {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
        {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
        {"/dev/pts",
         "devpts",
         "devpts",
         {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
        {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
        {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
        {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", access}},
        {"/etc/resolv.conf", "bind", input_.resolv_conf, etc_options},
        {"/etc/hosts", "bind", input_.hosts, etc_options}};
    std::erase_if(mounts, [](const SpecMount& mount) { return mount.source.empty(); });
    if (input_.cgroup != sys::CgroupMode::kNone) {
      mounts.push_back(
          {"/sys/fs/cgroup", "cgroup", "cgroup", {access, "nosuid", "noexec", "nodev"}});
    }
    if (input_.rootless) {
      std::erase_if(mounts,
                    [](const SpecMount& mount) { return mount.target.starts_with("/sys"); });
    }
    return mounts;
  }

  // Those of devices lie between ours and the step's, and all of them in the order of their depth.
  void AddDeviceMounts(std::vector<SpecMount>& mounts) const {
    if (edits_.mounts.empty()) return;
    for (const cdi::Mount& mount : edits_.mounts) {
      std::erase_if(mounts,
                    [&](const SpecMount& other) { return other.target == mount.container_path; });
      mounts.push_back({mount.container_path, mount.type, mount.host_path, mount.options});
    }
    const auto depth = [](const SpecMount& mount) {
      const std::string path = CleanPath(mount.target);
      return std::count(path.begin(), path.end(), '/');
    };
    std::stable_sort(mounts.begin(), mounts.end(),
                     [&](const SpecMount& a, const SpecMount& b) { return depth(a) < depth(b); });
  }

  // The step's, by destination, after ours; one with a destination that is there already takes its
  // place.
  json Mounts() const {
    std::vector<SpecMount> mounts = DefaultMounts();
    AddDeviceMounts(mounts);
    std::vector<SpecMount> own = input_.mounts;
    std::stable_sort(own.begin(), own.end(),
                     [](const SpecMount& a, const SpecMount& b) { return a.target < b.target; });
    for (SpecMount& mount : own) {
      auto same = std::find_if(mounts.begin(), mounts.end(), [&](const SpecMount& other) {
        return other.target == mount.target;
      });
      if (same != mounts.end()) {
        *same = std::move(mount);
      } else {
        mounts.push_back(std::move(mount));
      }
    }
    json list = json::array();
    for (const SpecMount& mount : mounts) {
      list.push_back({{"destination", mount.target},
                      {"type", mount.type},
                      {"source", mount.source},
                      {"options", mount.options}});
    }
    return list;
  }

  json Linux() const {
    json out = {{"namespaces", Namespaces()}};
    AddDeviceEdits(out);
    if (!input_.rootless) {
      out["resources"] = Resources();
      out["cgroupsPath"] = input_.cgroups_path;
    }
    if (insecure_ || !edits_.device_nodes.empty()) out["devices"] = Devices();
    if (insecure_) return out;
    out["maskedPaths"] = json::array();
    for (const char* path : kMaskedPaths) out["maskedPaths"].push_back(path);
    out["readonlyPaths"] = json::array();
    for (const char* path : kReadonlyPaths) out["readonlyPaths"].push_back(path);
    if (input_.seccomp) out["seccomp"] = DefaultSeccomp(SandboxCapabilities());
    return out;
  }

  void AddDeviceEdits(json& out) const {
    for (const cdi::NetDevice& device : edits_.net_devices)
      out["netDevices"][device.host_interface] = {{"name", device.name}};
    if (!edits_.intel_rdt) return;
    const cdi::IntelRdt& rdt = *edits_.intel_rdt;
    json& to = out["intelRdt"] = json::object();
    if (!rdt.clos_id.empty()) to["closID"] = rdt.clos_id;
    if (!rdt.l3_cache_schema.empty()) to["l3CacheSchema"] = rdt.l3_cache_schema;
    if (!rdt.mem_bw_schema.empty()) to["memBwSchema"] = rdt.mem_bw_schema;
    if (rdt.schemata && !rdt.schemata->empty()) to["schemata"] = *rdt.schemata;
    if (rdt.enable_monitoring) to["enableMonitoring"] = true;
  }

  json Namespaces() const {
    std::vector<const char*> types = {"pid", "ipc", "uts", "mount"};
    if (process_.network != NetworkMode::kHost) types.push_back("network");
    if (input_.cgroup == sys::CgroupMode::kV2)
      types.push_back("cgroup");  // runtimes refuse it with v1 hierarchies
    json list = json::array();
    for (const char* type : types) list.push_back({{"type", type}});
    return list;
  }

  json Resources() const {
    json resources;
    if (insecure_) {
      resources["devices"] = {{{"allow", true}, {"type", "c"}, {"access", "rwm"}},
                              {{"allow", true}, {"type", "b"}, {"access", "rwm"}}};
    } else {
      resources["devices"] = json::array({{{"allow", false}, {"access", "rwm"}}});
    }
    for (const cdi::DeviceNode& node : edits_.device_nodes) {
      if (node.type != "b" && node.type != "c") continue;
      json rule = {
          {"allow", true}, {"type", node.type}, {"major", node.major}, {"minor", node.minor}};
      if (node.permissions != "none")
        rule["access"] = node.permissions.empty() ? "rwm" : node.permissions;
      resources["devices"].push_back(std::move(rule));
    }
    const ResourceLimits& limits = process_.limits;
    if (limits.memory_bytes != 0) resources["memory"]["limit"] = limits.memory_bytes;
    if (limits.memory_swap_bytes != 0) resources["memory"]["swap"] = limits.memory_swap_bytes;
    if (limits.cpu_shares != 0) resources["cpu"]["shares"] = limits.cpu_shares;
    if (limits.cpu_period_us != 0) resources["cpu"]["period"] = limits.cpu_period_us;
    if (limits.cpu_quota_us != 0) resources["cpu"]["quota"] = limits.cpu_quota_us;
    if (!limits.cpuset_cpus.empty()) resources["cpu"]["cpus"] = limits.cpuset_cpus;
    if (!limits.cpuset_mems.empty()) resources["cpu"]["mems"] = limits.cpuset_mems;
    return resources;
  }

  json Devices() const {
    json devices = json::array();
    if (insecure_ && !input_.rootless) AddInsecureDevices(devices);
    for (const cdi::DeviceNode& node : edits_.device_nodes) {
      json one = {{"path", node.path}, {"type", node.type}};
      if (node.type != "p") {
        one["major"] = node.major;
        one["minor"] = node.minor;
      }
      if (node.file_mode) one["fileMode"] = *node.file_mode;
      if (const uint32_t uid = node.uid.value_or(input_.user.uid); node.uid || uid != 0)
        one["uid"] = uid;
      if (const uint32_t gid = node.gid.value_or(input_.user.gid); node.gid || gid != 0)
        one["gid"] = gid;
      const auto same = std::find_if(devices.begin(), devices.end(),
                                     [&](const json& other) { return other["path"] == node.path; });
      if (same != devices.end()) devices.erase(same);
      devices.push_back(std::move(one));
    }
    return devices;
  }

  static void AddInsecureDevices(json& devices) {
    auto add = [&](const std::string& path, const char* type, int major, int minor) {
      devices.push_back({{"path", path},
                         {"type", type},
                         {"major", major},
                         {"minor", minor},
                         {"fileMode", 0666},
                         {"uid", 0},
                         {"gid", 0}});
    };
    for (const DeviceNode& node : kInsecureDevices) add(node.path, "c", node.major, node.minor);
    for (int i = 0; i < FreeLoop() + kSpareLoops; ++i)
      add(fmt::format("/dev/loop{}", i), "b", kLoopMajor, i);
  }

  // The number of the first loop device not in use; 0 without loop devices.
  static int FreeLoop() {
    auto control = OpenFile("/dev/loop-control", O_RDWR);
    if (!control.ok()) return 0;
    int number = ioctl(control->get(), LOOP_CTL_GET_FREE);
    return std::max(number, 0);
  }

  const OciSpecInput& input_;
  const ProcessSpec& process_;
  const cdi::ContainerEdits& edits_;
  const bool insecure_;
};

}  // namespace

std::string MakeOciSpec(const OciSpecInput& input) { return SpecBuilder(input).Build(); }

std::string CgroupsPath(const std::string& parent, const std::string& id, bool rootless) {
  if (rootless) return {};
  if (parent.find(".slice") != std::string::npos && parent.ends_with(':')) return parent + id;
  return CleanPath(fmt::format("/{}/kiln/{}", parent, id));
}

std::vector<std::string> EffectiveEnv(const std::vector<std::string>& env) {
  std::vector<std::string> out;
  std::map<std::string, size_t, std::less<>> index;  // of the name in `out`
  for (const std::string& entry : env) {
    auto cut = Cut(entry, "=");
    std::string_view name = cut ? cut->first : std::string_view(entry);
    auto found = index.find(name);
    if (!cut) {
      if (found != index.end()) out[found->second].clear();
    } else if (found != index.end()) {
      out[found->second] = entry;
    } else {
      index.emplace(name, out.size());
      out.push_back(entry);
    }
  }
  std::erase(out, "");
  bool has_path = std::any_of(out.begin(), out.end(),
                              [](const std::string& entry) { return entry.starts_with("PATH="); });
  if (!has_path) out.push_back(std::string("PATH=") + kDefaultPath);
  return out;
}

std::string AbsoluteCwd(const std::string& cwd) { return CleanPath("/" + cwd); }

}  // namespace kiln::executor
