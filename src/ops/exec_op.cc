#include "ops/exec_op.h"

#include <unistd.h>

#include <algorithm>

#include "base/mutex.h"
#include "base/strings.h"
#include "ops/exec_mounts.h"
#include "ops/snapshot_op.h"

namespace kiln::ops {
namespace {

constexpr const char* kExitMessageType = "github.com/moby/buildkit/gatewayapi.ExitMessage+json";

// The looser of two limits, where `none` says that there is none.
template <typename T>
T Looser(T a, T b, T none) {
  return a == none || b == none ? none : std::max(a, b);
}

std::string LooserSet(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return {};
  return a == b ? a : a + "," + b;
}

executor::ResourceLimits LimitsOf(const pb::LinuxResources& resources) {
  return {.memory_bytes = resources.memory(),
          .memory_swap_bytes = resources.memoryswap(),
          .cpu_shares = resources.cpushares(),
          .cpu_period_us = resources.cpuperiod(),
          .cpu_quota_us = resources.cpuquota(),
          .cpuset_cpus = resources.cpusetcpus(),
          .cpuset_mems = resources.cpusetmems()};
}

executor::ResourceLimits Looser(const executor::ResourceLimits& a,
                                const executor::ResourceLimits& b) {
  executor::ResourceLimits out;
  out.memory_bytes = Looser<int64_t>(a.memory_bytes, b.memory_bytes, 0);
  bool any_swap = a.memory_swap_bytes == -1 || b.memory_swap_bytes == -1;
  out.memory_swap_bytes =
      any_swap ? -1 : Looser<int64_t>(a.memory_swap_bytes, b.memory_swap_bytes, 0);
  out.cpu_shares = Looser<uint64_t>(a.cpu_shares, b.cpu_shares, 0);
  out.cpuset_cpus = LooserSet(a.cpuset_cpus, b.cpuset_cpus);
  out.cpuset_mems = LooserSet(a.cpuset_mems, b.cpuset_mems);
  // A quota means something only with its period: the larger share of the two.
  constexpr uint64_t kDefaultPeriod = 100'000;
  auto period = [](const executor::ResourceLimits& limits) {
    return limits.cpu_period_us == 0 ? kDefaultPeriod : limits.cpu_period_us;
  };
  if (a.cpu_quota_us > 0 && b.cpu_quota_us > 0) {
    bool first = static_cast<double>(a.cpu_quota_us) / static_cast<double>(period(a)) >=
                 static_cast<double>(b.cpu_quota_us) / static_cast<double>(period(b));
    out.cpu_quota_us = first ? a.cpu_quota_us : b.cpu_quota_us;
    out.cpu_period_us = first ? a.cpu_period_us : b.cpu_period_us;
  }
  return out;
}

void AddProxyEnv(const pb::ProxyEnv& proxy, std::vector<std::string>& env) {
  auto add = [&](const char* name, const std::string& value) {
    if (value.empty()) return;
    env.push_back(fmt::format("{}={}", name, value));
    env.push_back(fmt::format("{}={}", ToLower(name), value));
  };
  add("HTTP_PROXY", proxy.http_proxy());
  add("HTTPS_PROXY", proxy.https_proxy());
  add("FTP_PROXY", proxy.ftp_proxy());
  add("NO_PROXY", proxy.no_proxy());
  add("ALL_PROXY", proxy.all_proxy());
}

constexpr const char* kEmulatorTarget = "/dev/.buildkit_qemu_emulator";

// QEMU's name for an architecture.
std::string EmulatedName(const std::string& architecture) {
  if (architecture == "arm64") return "aarch64";
  if (architecture == "amd64") return "x86_64";
  if (architecture == "386") return "i386";
  return architecture;
}

// The emulator that processes of `wanted` need here; "" if none, or none is installed (then the
// kernel says what it thinks of the format).
Result<std::string> FindEmulator(const ExecServices& exec, const oci::Platform& wanted) {
  auto only = oci::PlatformMatcher::Only(wanted);
  bool native = exec.platforms.empty() ||
                std::any_of(exec.platforms.begin(), exec.platforms.end(),
                            [&](const oci::Platform& have) { return only.Match(have); });
  if (native) return std::string();
  if (wanted.architecture == "amd64" && !wanted.variant.empty() && wanted.variant > "v2") {
    return FailedPrecondition("no support for running processes with {}", oci::Format(wanted));
  }
  for (const std::string& directory : exec.emulator_dirs) {
    std::string path =
        fmt::format("{}/buildkit-qemu-{}", directory, EmulatedName(wanted.architecture));
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return std::string();
}

class ExecOp final : public SnapshotOp {
 public:
  ExecOp(const Services& services, const ExecServices& exec, const llb::Vertex& vertex,
         OpOptions options, llb::KeyMap key)
      : SnapshotOp(services, vertex, std::move(options), std::move(key)),
        exec_(exec),
        limits_(LimitsOf(vertex.metadata.linux_resources())) {}

  solver::RunNeeds needs() const override {
    solver::RunNeeds needs{.slot = solver::SlotKind::kExec};
    for (const pb::Mount& mount : op().mounts()) {
      if (mount.mounttype() == pb::CACHE && mount.cacheopt().sharing() == pb::LOCKED) {
        needs.locks.push_back(CacheLockName(mount));
      }
    }
    std::sort(needs.locks.begin(), needs.locks.end());
    needs.locks.erase(std::unique(needs.locks.begin(), needs.locks.end()), needs.locks.end());
    return needs;
  }

  void MergeTwin(const solver::Op& twin) override {
    const auto* other = dynamic_cast<const ExecOp*>(&twin);
    if (other == nullptr || other == this) return;
    executor::ResourceLimits theirs = other->limits();
    MutexLock lock(mutex_);
    limits_ = Looser(limits_, theirs);
  }

 protected:
  Result<StepOutput> RunStep(solver::RunContext& context,
                             const std::vector<store::SnapshotRef>& inputs) override {
    const progress::Activity& activity = context.activity();
    TRY_ASSIGN(ExecMounts mounts,
               ExecMounts::Prepare(services(), exec_, vertex(), activity, inputs));
    TRY_ASSIGN(executor::ProcessSpec spec, MakeSpec(activity));
    mounts.FillIn(spec);
    TRY(AddEmulator(spec));
    StepLog log(activity.sink, services().clock, exec_.log_limits);
    executor::Stdio stdio;
    stdio.output = [&](progress::Stream stream, std::string_view data) { log.Write(stream, data); };
    Status ended = RunProcess(spec, std::move(stdio), activity);
    if (!ended.ok()) {
      log.ShowEnd();
      return std::move(ended.error().AddContext(
          fmt::format("process {} did not complete successfully", QuotedCommand())));
    }
    StepOutput output;
    TRY_ASSIGN(output.results, std::move(mounts).Commit());
    return output;
  }

 private:
  const pb::ExecOp& op() const { return vertex().op.exec(); }

  executor::ResourceLimits limits() const {
    MutexLock lock(mutex_);
    return limits_;
  }

  std::string QuotedCommand() const {
    constexpr size_t kShown = 4096;  // a script may be long
    return Quoted(fmt::format("{}", fmt::join(op().meta().args(), " ")), kShown);
  }

  Result<executor::ProcessSpec> MakeSpec(const progress::Activity& activity) const {
    const pb::Meta& meta = op().meta();
    executor::ProcessSpec spec;
    spec.args.assign(meta.args().begin(), meta.args().end());
    TRY_ASSIGN(spec.env, MakeEnv(activity));
    spec.cwd = meta.cwd();
    spec.user = meta.user();
    if (!meta.hostname().empty()) spec.hostname = meta.hostname();
    for (const pb::HostIP& host : meta.extrahosts()) {
      spec.extra_hosts.push_back({.host = host.host(), .ip = host.ip()});
    }
    for (const pb::Ulimit& limit : meta.ulimit()) {
      spec.ulimits.push_back({.name = limit.name(), .soft = limit.soft(), .hard = limit.hard()});
    }
    spec.cgroup_parent = meta.cgroupparent();
    spec.remove_stubs_recursively = meta.removemountstubsrecursive();
    spec.network = NetworkOf(op().network());
    if (op().security() == pb::INSECURE) spec.security = executor::SecurityMode::kInsecure;
    spec.limits = limits();
    return spec;
  }

  Status RunProcess(executor::ProcessSpec& spec, executor::Stdio stdio,
                    const progress::Activity& activity) const {
    TRY_CTX(AddDevices(spec), "CDI device injection failed");
    TRY_ASSIGN(const executor::Outcome outcome,
               exec_.executor->Run(spec, std::move(stdio), activity));
    return Judge(outcome);
  }

  // Those that the loader let through.
  Status AddDevices(executor::ProcessSpec& spec) const {
    if (op().cdidevices().empty()) return OkStatus();
    std::vector<cdi::Request> requests;
    for (const pb::CDIDevice& device : op().cdidevices())
      requests.push_back({.name = device.name(), .optional = device.optional()});
    const auto catalog =
        exec_.devices != nullptr ? exec_.devices->Current() : std::make_shared<cdi::Catalog>();
    TRY_ASSIGN(spec.device_edits, catalog->EditsFor(requests));
    return OkStatus();
  }

  Status AddEmulator(executor::ProcessSpec& spec) const {
    TRY_ASSIGN(std::string emulator, FindEmulator(exec_, vertex().platform()));
    if (emulator.empty()) return OkStatus();
    sys::MountDescription mount;
    mount.what = sys::BindMount{.source = emulator};
    mount.flags.readonly = true;
    spec.mounts.push_back({.target = kEmulatorTarget, .what = std::move(mount)});
    spec.args.insert(spec.args.begin(), kEmulatorTarget);
    return OkStatus();
  }

  executor::NetworkMode NetworkOf(pb::NetMode mode) const {
    if (mode == pb::HOST) return executor::NetworkMode::kHost;
    if (mode == pb::NONE) return executor::NetworkMode::kNone;
    return exec_.default_network;
  }

  Result<std::vector<std::string>> MakeEnv(const progress::Activity& activity) const {
    const pb::Meta& meta = op().meta();
    std::vector<std::string> env(meta.env().begin(), meta.env().end());
    if (meta.has_proxy_env()) AddProxyEnv(meta.proxy_env(), env);
    bool has_path = std::any_of(env.begin(), env.end(), [](const std::string& entry) {
      return entry.starts_with("PATH=");
    });
    if (!has_path) env.push_back(std::string("PATH=") + executor::kDefaultPath);
    for (const pb::SecretEnv& secret : op().secretenv()) {
      if (secret.id().empty()) {
        return InvalidArgument("secret ID missing for {} environment variable",
                               Quoted(secret.name()));
      }
      auto value = exec_.secrets->GetSecret(activity, secret.id());
      if (value.ok()) {
        env.push_back(secret.name() + "=" + value->Reveal());
      } else if (secret.optional() && value.error().code() == Code::kNotFound) {
        env.push_back(secret.name() + "=");
      } else {
        return std::move(value).error();
      }
    }
    return env;
  }

  // Success, or why not.
  Status Judge(const executor::Outcome& outcome) const {
    const auto& valid = op().meta().validexitcodes();
    bool good = valid.empty()
                    ? outcome.exit_code == 0
                    : std::find(valid.begin(), valid.end(), outcome.exit_code) != valid.end();
    if (good) return OkStatus();
    Error error = outcome.out_of_memory ? Unknown("cannot allocate memory")
                                        : Unknown("exit code: {}", outcome.exit_code);
    error.AddDetail(
        {.type_url = kExitMessageType, .value = fmt::format("{{\"Code\":{}}}", outcome.exit_code)});
    return error;
  }

  const ExecServices exec_;
  mutable Mutex mutex_;
  executor::ResourceLimits limits_ GUARDED_BY(mutex_);
};

}  // namespace

Result<solver::OpPtr> MakeExecOp(const Services& services, const ExecServices& exec,
                                 const llb::Vertex& vertex, const OpOptions& options) {
  TRY_ASSIGN(llb::KeyMap key, llb::KeyMapOf(vertex));
  TRY(RenewCaches(services.store, vertex));
  return solver::OpPtr(std::make_shared<ExecOp>(services, exec, vertex, options, std::move(key)));
}

OpMaker ExecOpMaker(const Services& services, const ExecServices& exec) {
  return [services, exec](const llb::Vertex& vertex, const OpOptions& options) {
    return MakeExecOp(services, exec, vertex, options);
  };
}

}  // namespace kiln::ops
