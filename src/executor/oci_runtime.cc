#include "executor/oci_runtime.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include <nlohmann/json.hpp>

#include "base/ids.h"
#include "base/log.h"
#include "base/strings.h"
#include "executor/bundle.h"
#include "executor/cgroup.h"
#include "sys/command.h"
#include "sys/syscalls.h"

namespace kiln::executor {
namespace {

using std::chrono::seconds;

constexpr seconds kHelperTimeout(30);  // for `delete`, which has nothing to wait for
constexpr std::chrono::milliseconds kCgroupPatience(10'000);
constexpr const char* kKnownRuntimes[] = {"buildkit-runc", "runc", "crun"};

// The container's first process, held by descriptor so that its number cannot come to mean another.
class InitProcess {
 public:
  // The child of the runtime that is number 1 in a pid namespace; an invalid one if there is none
  // (yet, or any more). The pid file would tell too, but runtimes write it when the process has
  // long begun.
  static InitProcess Find(pid_t runtime) {
    auto tasks = OpenFile(fmt::format("/proc/{}/task", runtime), O_RDONLY | O_DIRECTORY);
    auto threads =
        tasks.ok() ? sys::ReadDir(tasks->get()) : Result<std::vector<sys::DirEntry>>(tasks.error());
    if (!threads.ok()) return {};
    for (const sys::DirEntry& thread : *threads) {
      auto children = ReadFile(fmt::format("/proc/{}/task/{}/children", runtime, thread.name));
      if (!children.ok()) continue;
      for (std::string_view child : Split(*children, ' ')) {
        InitProcess init(static_cast<pid_t>(ParseUint(Trim(child)).value_or(0)));
        // Until the runtime reaps it, it is the runtime's child: if it is so now, the descriptor is
        // the right process's.
        if (init.valid() && init.StatusField("PPid:") == std::to_string(runtime) &&
            init.IsFirstInNamespace())
          return init;
      }
    }
    return {};
  }

  bool valid() const { return fd_.valid(); }
  // Whether a signal would get through: the first process of a pid namespace gets only those that
  // it has a handler for. What still is the runtime's own program, on its way to becoming the
  // step's, has handlers but would not act.
  bool Handles(int signal) const {
    if (StatusField("Name:").find(":[") != std::string::npos) return false;  // "runc:[2:INIT]"
    return (ParseUint(StatusField("SigCgt:"), 16).value_or(0) >> (signal - 1) & 1) != 0;
  }
  void Kill() const { sys::PidfdSendSignal(fd_.get(), SIGKILL); }

 private:
  InitProcess() = default;
  explicit InitProcess(pid_t pid) : pid_(pid) {
    if (pid > 1) fd_.Reset(sys::PidfdOpen(pid));
  }

  bool IsFirstInNamespace() const {
    std::string numbers = StatusField("NSpid:");  // in our namespace, …, in its own
    return numbers.ends_with("\t1");
  }

  std::string StatusField(std::string_view name) const {
    auto status = ReadFile(fmt::format("/proc/{}/status", pid_));
    if (!status.ok()) return {};
    auto cut = Cut(*status, name);
    return cut ? std::string(Trim(cut->second.substr(0, cut->second.find('\n')))) : std::string();
  }

  pid_t pid_ = 0;
  Fd fd_;
};

Status MakeStateDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0711) != 0 && errno != EEXIST)
    return ErrnoError(errno, "make directory {}", path);
  return OkStatus();
}

std::vector<std::string> WithoutNotifySocket(std::vector<std::string> environment) {
  std::erase_if(environment,
                [](const std::string& entry) { return entry.starts_with("NOTIFY_SOCKET="); });
  return environment;
}

std::string FirstLine(const std::string& text) {
  return std::string(Trim(text.substr(0, text.find('\n'))));
}

// Where a program lies that is given by path, or by name for the PATH of `environment`.
Result<std::string> FindProgram(const std::string& name,
                                const std::vector<std::string>& environment) {
  std::vector<std::string> places;
  if (name.find('/') != std::string::npos) {
    places.push_back(name);
  } else {
    std::string_view path = kDefaultPath;
    for (const std::string& entry : environment) {
      if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
    }
    for (std::string_view directory : Split(path, ':')) {
      places.push_back(fmt::format("{}/{}", directory, name));
    }
  }
  for (const std::string& place : places) {
    if (access(place.c_str(), X_OK) == 0) return place;
  }
  return NotFound("not installed");
}

}  // namespace

struct OciRuntime::Impl {
  Impl(OciRuntimeOptions given, sys::Mounter given_mounter, sys::Spawner& given_spawner)
      : options(std::move(given)), mounter(std::move(given_mounter)), spawner(given_spawner) {}

  OciRuntimeOptions options;
  const sys::Mounter mounter;
  sys::Spawner& spawner;
  std::string binary;
  BundleSettings bundles;
  std::vector<std::string> cgroup_roots;

  std::string runtime_root() const { return options.state_dir + "/runtime"; }

  Result<sys::CommandResult> Call(std::vector<std::string> args) const {
    // Bounded, though not cancellable: this is how things are cleaned up.
    return sys::RunCommand(spawner,
                           {.program = binary,
                            .args = std::move(args),
                            .env = options.environment,
                            .grace = seconds(1),
                            .timeout = kHelperTimeout},
                           {});
  }

  Status Choose(const sys::KernelFeatures& kernel) {
    std::vector<std::string> candidates;
    if (!options.binary.empty()) {
      candidates = {options.binary};
    } else {
      candidates.assign(std::begin(kKnownRuntimes), std::end(kKnownRuntimes));
    }
    std::vector<std::string> reasons;
    for (const std::string& candidate : candidates) {
      auto usable = Try(candidate, kernel);
      if (usable.ok()) return OkStatus();
      reasons.push_back(fmt::format("{}: {}", candidate, usable.error()));
    }
    return FailedPrecondition("no OCI runtime works here ({}); install runc", Join(reasons, "; "));
  }

  // Starting runc once would cost as much as all the rest of our start: its name is trusted.
  Status Try(const std::string& candidate, const sys::KernelFeatures& kernel) {
    TRY_ASSIGN(binary, FindProgram(candidate, options.environment));
    if (kernel.cgroup != sys::CgroupMode::kHybrid || BaseName(candidate).ends_with("runc")) {
      return OkStatus();
    }
    TRY_ASSIGN(sys::CommandResult result, Call({"--version"}));
    if (!result.status.ok()) return FailedPrecondition("{}", result.status.ToString());
    // crun does not run with controllers in v1 hierarchies beside a v2 tree.
    if (FirstLine(result.out).starts_with("crun")) {
      return FailedPrecondition("does not run with cgroups v1 and v2 mixed, as on this machine");
    }
    return OkStatus();
  }

  Result<Outcome> RunBundle(const Bundle& bundle, const ProcessSpec& spec, Stdio stdio,
                            const progress::Activity& activity) {
    // With a memory limit the cgroup is kept until we have seen whether the limit killed something.
    bool keep = spec.limits.memory_bytes != 0;
    sys::Command command{.program = binary,
                         .args = {"--root", runtime_root(), "--log", bundle.log_file(),
                                  "--log-format", "json", "run", "--bundle", bundle.path()},
                         .env = options.environment,
                         .max_output_bytes = 0,
                         .grace = options.grace};
    if (keep) command.args.emplace_back("--keep");
    command.args.push_back(bundle.id());
    if (stdio.input.valid()) command.fds.push_back({std::move(stdio.input), 0});
    command.on_output = [&](int stream, std::string_view data) {
      if (stdio.output) stdio.output(static_cast<progress::Stream>(stream), data);
    };
    command.on_cancel = [](sys::Child& runtime, bool last) { Stop(runtime, last); };
    if (activity.deadline) {
      command.timeout = std::max<std::chrono::nanoseconds>(
          *activity.deadline - std::chrono::steady_clock::now(), std::chrono::nanoseconds(1));
    }

    ContainerCgroup cgroup(cgroup_roots, bundle.cgroups_path());
    auto result = sys::RunCommand(spawner, std::move(command), activity.cancel);
    Outcome outcome;
    outcome.out_of_memory = keep && cgroup.OutOfMemory();
    TRY(EnsureGone(bundle.id(), cgroup));
    if (!result.ok()) return std::move(result).error();
    if (result->status.signal != 0) return Internal("{} was {}", binary, result->status.ToString());
    outcome.exit_code = result->status.code;
    return outcome;
  }

  // First politely, if there is somebody who listens; else, and at last, not.
  static void Stop(sys::Child& runtime, bool last) {
    InitProcess init = InitProcess::Find(runtime.pid());
    if (!init.valid()) {
      // Not begun, or at its end: the runtime goes, and what it has made after it.
      (void)runtime.SignalGroup(SIGKILL).ok();
    } else if (!last && init.Handles(SIGTERM)) {
      (void)runtime.Signal(SIGTERM).ok();  // passed on to the container
    } else {
      init.Kill();
      if (last) (void)runtime.SignalGroup(SIGKILL).ok();
    }
  }

  // The runtime cleans up after a container that ran to its end; what is there after other ends
  // goes here.
  Status EnsureGone(const std::string& id, const ContainerCgroup& cgroup) const {
    bool known = access((runtime_root() + "/" + id).c_str(), F_OK) == 0;
    if (known) {
      TRY_ASSIGN(sys::CommandResult result,
                 Call({"--root", runtime_root(), "delete", "--force", id}));
      if (!result.status.ok())
        LOG_WARNING("{} delete {}: {}: {}", binary, id, result.status.ToString(), Trim(result.err));
    }
    if (cgroup.exists()) TRY(cgroup.Destroy(kCgroupPatience));
    TRY(sys::RemoveTree(runtime_root() + "/" + id));
    return OkStatus();
  }

  Status RecoverOne(const std::string& id) const {
    std::string path = bundles.directory + "/" + id;
    std::string cgroups_path;
    if (auto config = ReadFile(path + "/config.json"); config.ok()) {
      auto parsed = nlohmann::json::parse(*config, nullptr, false);
      auto pointer = nlohmann::json::json_pointer("/linux/cgroupsPath");
      if (!parsed.is_discarded() && parsed.contains(pointer) && parsed[pointer].is_string())
        cgroups_path = parsed[pointer];
    }
    TRY(EnsureGone(id, ContainerCgroup(cgroup_roots, cgroups_path)));
    TRY(sys::UnmountBelow(path));
    return sys::RemoveTree(path);
  }
};

OciRuntime::OciRuntime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OciRuntime::~OciRuntime() {
  // Ours when empty, and no loss when somebody else needs it again.
  const std::string path =
      CgroupsPath(impl_->options.cgroup_parent, "container", impl_->options.rootless);
  if (!path.starts_with('/')) return;
  for (const std::string& root : impl_->cgroup_roots) rmdir((root + DirName(path)).c_str());
}

const std::string& OciRuntime::binary() const { return impl_->binary; }
Result<std::string> OciRuntime::Version() const {
  TRY_ASSIGN(sys::CommandResult result, impl_->Call({"--version"}));
  return FirstLine(result.out);
}

Result<std::unique_ptr<OciRuntime>> OciRuntime::Create(OciRuntimeOptions options,
                                                       const sys::KernelFeatures& kernel,
                                                       sys::Mounter mounter,
                                                       sys::Spawner& spawner) {
  auto impl = std::make_unique<Impl>(std::move(options), std::move(mounter), spawner);
  impl->options.environment = WithoutNotifySocket(std::move(impl->options.environment));
  TRY(MakeStateDirectory(impl->options.state_dir));
  TRY(MakeStateDirectory(impl->runtime_root()));
  TRY(impl->Choose(kernel));
  if (!impl->options.apparmor_profile.empty() &&
      access("/sys/kernel/security/apparmor", F_OK) != 0) {
    return FailedPrecondition("AppArmor profile {} is asked for, but this machine has no AppArmor",
                              impl->options.apparmor_profile);
  }
  impl->bundles = {.directory = impl->options.state_dir + "/containers",
                   .cgroup = kernel.cgroup,
                   .cgroup_parent = impl->options.cgroup_parent,
                   .apparmor_profile = impl->options.apparmor_profile,
                   .rootless = impl->options.rootless,
                   .seccomp = kernel.seccomp_filter};
  TRY(MakeStateDirectory(impl->bundles.directory));
  TRY_ASSIGN(std::vector<sys::MountInfo> mounts, sys::ReadMountInfo());
  impl->cgroup_roots = CgroupRoots(mounts);
  return std::unique_ptr<OciRuntime>(new OciRuntime(std::move(impl)));
}

Result<Outcome> OciRuntime::Run(const ProcessSpec& spec, Stdio stdio,
                                const progress::Activity& activity) {
  TRY(activity.Check());
  if (spec.args.empty()) return InvalidArgument("no arguments to run");
  Bundle::EtcTexts etc;
  etc.resolv_conf =
      MakeResolvConf(ReadHostResolvConf(spec.network), impl_->options.dns, spec.network);
  TRY_ASSIGN(etc.hosts, MakeHosts(spec.hostname, spec.extra_hosts));
  TRY_ASSIGN(std::unique_ptr<Bundle> bundle,
             Bundle::Create(impl_->bundles, impl_->mounter, spec, etc, NewId()));
  auto outcome = impl_->RunBundle(*bundle, spec, std::move(stdio), activity);
  TRY_CTX(bundle->Close(), "removing the container");
  return outcome;
}

Status OciRuntime::RecoverStale() {
  TRY_ASSIGN(Fd directory, OpenFile(impl_->bundles.directory, O_RDONLY | O_DIRECTORY));
  TRY_ASSIGN(std::vector<sys::DirEntry> entries, sys::ReadDir(directory.get()));
  for (const sys::DirEntry& entry : entries)
    TRY_CTX(impl_->RecoverOne(entry.name), "removing stale container {}", entry.name);
  return OkStatus();
}

}  // namespace kiln::executor
