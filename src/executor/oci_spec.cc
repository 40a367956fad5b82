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
        insecure_(process_.security == SecurityMode::kInsecure) {}

  std::string Build() {
    json spec = {{"ociVersion", "1.0.2"},
                 {"process", Process()},
                 {"root", {{"path", input_.rootfs}, {"readonly", process_.readonly_root}}},
                 {"hostname", process_.hostname},
                 {"mounts", Mounts()},
                 {"linux", Linux()}};
    // Arguments need not be UTF-8; what is not becomes U+FFFD, as Go's encoder has it.
    return spec.dump(-1, ' ', false, json::error_handler_t::replace);
  }

 private:
  json Process() const {
    json process = {{"terminal", false},
                    {"user",
                     {{"uid", input_.user.uid},
                      {"gid", input_.user.gid},
                      {"additionalGids", input_.user.additional_gids}}},
                    {"args", process_.args},
                    {"env", EffectiveEnv(process_.env)},
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

  // The step's, by destination, after ours; one with a destination that is there already takes its
  // place.
  json Mounts() const {
    std::vector<SpecMount> mounts = DefaultMounts();
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
    if (!input_.rootless) {
      out["resources"] = Resources();
      out["cgroupsPath"] = input_.cgroups_path;
    }
    if (insecure_) {
      out["devices"] = Devices();
      return out;
    }
    out["maskedPaths"] = json::array();
    for (const char* path : kMaskedPaths) out["maskedPaths"].push_back(path);
    out["readonlyPaths"] = json::array();
    for (const char* path : kReadonlyPaths) out["readonlyPaths"].push_back(path);
    if (input_.seccomp) out["seccomp"] = DefaultSeccomp(SandboxCapabilities());
    return out;
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
    if (input_.rootless) return devices;
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
    return devices;
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
