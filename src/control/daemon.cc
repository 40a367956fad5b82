#include "control/daemon.h"

#include <malloc.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "base/clock.h"
#include "base/fd.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mutex.h"
#include "base/pool.h"
#include "base/strings.h"
#include "base/version.h"
#include "build/environment.h"
#include "cachedb/cachedb.h"
#include "cdi/registry.h"
#include "control/cache_collector.h"
#include "control/content_service.h"
#include "control/control_service.h"
#include "control/job_table.h"
#include "control/platforms.h"
#include "control/small_services.h"
#include "control/solve.h"
#include "control/worker_info.h"
#include "executor/oci_runtime.h"
#include "exporter/exporter.h"
#include "frontend/bridge_service.h"
#include "frontend/dockerfile_frontend.h"
#include "history/history.h"
#include "http/client.h"
#include "http/proxy.h"
#include "ops/exec_op.h"
#include "ops/factory.h"
#include "ops/source_op.h"
#include "registry/registry.h"
#include "rpc/server.h"
#include "session/manager.h"
#include "solver/solver.h"
#include "source/blob_sources.h"
#include "source/session_credentials.h"
#include "source/sources.h"
#include "store/store.h"
#include "sys/kernel.h"
#include "sys/rooted_path.h"

namespace kiln::control {
namespace {

// A registry may say nothing for so many silence timeouts while it stores a large blob.
constexpr int kUploadPatience = 8;
constexpr size_t kBlockingThreads = 512;
constexpr size_t kBuildThreads = 256;
// How long cancelled builds have to end, and last answers to be sent.
constexpr std::chrono::seconds kCancelTime{15};
constexpr std::chrono::milliseconds kAnswerTime{500};
constexpr const char* kDefaultSpecDirs[] = {"/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi"};

// Text of a small file that is made once and kept: the worker's id survives restarts.
Result<std::string> StableId(const std::string& path) {
  const Result<std::string> known = ReadFile(path, 256);
  if (known.ok() && !known->empty()) return *known;
  std::string id = NewId();
  TRY(WriteFileAtomically(path, id, 0400));
  return id;
}

std::map<std::string, std::string> LabelsOf(const Config& config) {
  std::array<char, 256> hostname{};
  gethostname(hostname.data(), hostname.size() - 1);
  std::map<std::string, std::string> labels;
  const auto put = [&](std::string_view key, std::string value) {
    labels[std::string(kWorkerLabelPrefix) + std::string(key)] = std::move(value);
  };
  put("executor", "oci");
  put("snapshotter", config.snapshotter);
  put("hostname", hostname.data());
  put("network", config.network_mode);
  put("oci.process-mode", "sandbox");
  put("selinux.enabled", "false");
  if (!config.apparmor_profile.empty()) put("apparmor.profile", config.apparmor_profile);
  for (const auto& [key, value] : config.labels) labels[key] = value;
  return labels;
}

// What git may see of our environment.
std::vector<std::string> ProgramEnvironment() {
  std::vector<std::string> environment;
  for (const char* name :
       {"PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy",
        "no_proxy", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"}) {
    const char* value = std::getenv(name);
    if (value != nullptr) environment.push_back(fmt::format("{}={}", name, value));
  }
  return environment;
}

uint64_t DiskBytes(const std::string& path) {
  struct statvfs info{};
  if (statvfs(path.c_str(), &info) != 0) return 0;
  return static_cast<uint64_t>(info.f_blocks) * info.f_frsize;
}

std::unique_ptr<cdi::Registry> DevicesOf(const Config& config) {
  std::vector<std::string> directories = config.cdi_spec_dirs;
  if (directories.empty())
    directories.assign(std::begin(kDefaultSpecDirs), std::end(kDefaultSpecDirs));
  if (config.cdi_disabled) directories.clear();
  return std::make_unique<cdi::Registry>(
      std::move(directories),
      std::set<std::string>(config.cdi_auto_allowed.begin(), config.cdi_auto_allowed.end()));
}

// A directory of ours for what is tried at start and for mount points of a moment.
Result<std::string> ScratchOf(const std::string& root) {
  if (!root.starts_with('/'))
    return InvalidArgument("root {} is not an absolute path", Quoted(root));
  TRY_ASSIGN(const sys::RootedPath machine, sys::RootedPath::Open("/"));
  TRY_CTX(machine.MakeDirs(DirName(root), 0755), "create {}", root);
  if (mkdir(root.c_str(), 0711) != 0 && errno != EEXIST)
    return ErrnoError(errno, "create {}", root);
  std::string scratch = root + "/scratch";
  if (mkdir(scratch.c_str(), 0700) != 0 && errno != EEXIST)
    return ErrnoError(errno, "create {}", scratch);
  return scratch;
}

// The snapshotter that works here, or why the one that is asked for does not.
Result<std::string> SnapshotterOf(const Config& config, const sys::KernelFeatures& kernel) {
  if (config.snapshotter == "auto") return std::string(kernel.overlay ? "overlayfs" : "native");
  if (config.snapshotter == "overlayfs" && !kernel.overlay) {
    return FailedPrecondition(
        "overlayfs does not work in {} (no module of that name, or a file system that it cannot "
        "write on): use another root, or the snapshotter native or auto",
        config.root);
  }
  return config.snapshotter;
}

solver::SolverOptions SolverOptionsOf(const Config& config) {
  solver::SolverOptions options;
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int steps = config.max_parallelism > 0 ? config.max_parallelism : std::max(4, cores);
  options.slots[static_cast<size_t>(solver::SlotKind::kExec)] = steps;
  return options;
}

}  // namespace

// In the order of construction; destroyed in reverse.
struct Daemon::Parts {
  explicit Parts(const Config& with) : config(with) {}

  Config config;
  SystemClock clock;
  rpc::Poller poller;
  EventLoop timers{"kiln-timers"};
  EventLoop solver_loop{"kiln-solver"};
  session::Manager sessions{timers};
  std::unique_ptr<store::Store> store;
  std::unique_ptr<history::History> history;
  std::unique_ptr<WorkerPool> blocking;
  std::unique_ptr<WorkerPool> builds;
  std::shared_ptr<cachedb::CacheDb> cachedb;
  http::Library http_library;
  std::unique_ptr<http::Client> http;
  std::unique_ptr<source::SessionCredentials> credentials;
  std::unique_ptr<registry::Registry> registry;
  std::unique_ptr<source::RegistryBlobs> registry_blobs;
  std::unique_ptr<source::RegistryBlobs> insecure_registry_blobs;
  std::unique_ptr<source::LayoutBlobs> layout_blobs;
  std::unique_ptr<source::Sources> sources;
  std::unique_ptr<executor::OciRuntime> executor;
  std::unique_ptr<cdi::Registry> devices;
  std::unique_ptr<ops::StepSecrets> secrets;
  std::unique_ptr<ops::Factory> factory;
  std::unique_ptr<solver::Solver> solver;
  build::Environment environment;
  frontend::Services frontends;
  WorkerInfo worker;
  JobTable jobs{timers, clock};
  std::unique_ptr<CacheCollector> collector;
  std::unique_ptr<BuildSolver> build_solver;
  std::unique_ptr<ControlService> control;
  std::unique_ptr<frontend::BridgeService> bridge;
  std::unique_ptr<ContentService> content;
  HealthService health;
  TraceService trace;
  std::shared_ptr<rpc::TlsServer> tls;
  std::unique_ptr<rpc::Server> server;
  bool stopped = false;

  Status OpenStore(const sys::KernelFeatures& kernel, const sys::Mounter& mounter);
  Status OpenNetwork(sys::Spawner& spawner);
  Status OpenExecutor(sys::Spawner& spawner, const sys::KernelFeatures& kernel,
                      const sys::Mounter& mounter);
  Status OpenEngine();
  Status OpenServices();
};

Status Daemon::Parts::OpenStore(const sys::KernelFeatures& kernel, const sys::Mounter& mounter) {
  store::StoreOptions options;
  options.root = config.root;
  options.clock = &clock;
  options.snapshotter = config.snapshotter;
  options.privileges = kernel.privileges;
  options.max_mount_layers = mounter.max_overlay_lowers();
  TRY_ASSIGN_CTX(store, store::Store::Open(std::move(options)), "opening {}", config.root);
  history::Retention retention;
  retention.age = config.history_max_age;
  retention.entries = static_cast<size_t>(config.history_max_entries);
  retention.record = config.record_history;
  // What images a record names is kept as long as the record.
  const auto forget = [this](const std::string& ref) {
    const Status unpinned = store->UnpinBlobs(Recorder::PinOwner(ref));
    if (!unpinned.ok()) LOG_WARNING("the record of build {}: {}", ref, unpinned.error());
  };
  TRY_ASSIGN(history, history::History::Open(config.root + "/history", clock, retention, forget));
  blocking = std::make_unique<WorkerPool>("kiln-work", kBlockingThreads);
  builds = std::make_unique<WorkerPool>("kiln-build", kBuildThreads);
  TRY_ASSIGN(cachedb, cachedb::CacheDb::Open(config.root + "/cache.db", *store));
  return OkStatus();
}

Status Daemon::Parts::OpenNetwork(sys::Spawner& spawner) {
  http::ClientOptions options;
  options.user_agent = UserAgent();
  options.stall_timeout = std::chrono::ceil<std::chrono::milliseconds>(config.silence_timeout);
  options.proxies = http::ProxySettings::From([](const char* name) { return std::getenv(name); });
  http = std::make_unique<http::Client>(http_library, options);
  credentials = std::make_unique<source::SessionCredentials>(sessions, config.session_auth_timeout);
  registry::RegistryOptions registries;
  registries.hosts = config.registries;
  registries.max_concurrency = config.max_registry_concurrency;
  registries.upload_stall = kUploadPatience * options.stall_timeout;
  registry =
      std::make_unique<registry::Registry>(*http, clock, credentials.get(), std::move(registries));
  registry_blobs = std::make_unique<source::RegistryBlobs>(*registry);
  insecure_registry_blobs = std::make_unique<source::RegistryBlobs>(*registry, /*insecure=*/true);
  layout_blobs = std::make_unique<source::LayoutBlobs>(sessions);
  store->AddBlobSource(std::string(source::kRegistryLocator), registry_blobs.get());
  store->AddBlobSource(std::string(source::kInsecureRegistryLocator),
                       insecure_registry_blobs.get());
  store->AddBlobSource(std::string(source::kLayoutLocator), layout_blobs.get());
  sources = std::make_unique<source::Sources>(
      source::Services{*store, *registry, sessions, clock, *http, spawner, ProgramEnvironment(),
                       worker.id, std::chrono::ceil<std::chrono::seconds>(config.silence_timeout)});
  return OkStatus();
}

Status Daemon::Parts::OpenExecutor(sys::Spawner& spawner, const sys::KernelFeatures& kernel,
                                   const sys::Mounter& mounter) {
  executor::OciRuntimeOptions options;
  options.binary = config.runtime_binary;
  options.state_dir = config.root + "/executor";
  options.cgroup_parent = config.cgroup_parent;
  options.apparmor_profile = config.apparmor_profile;
  options.dns = config.dns;
  for (char** entry = environ; *entry != nullptr; ++entry) options.environment.emplace_back(*entry);
  TRY_ASSIGN(executor, executor::OciRuntime::Create(std::move(options), kernel, mounter, spawner));
  return executor->RecoverStale();
}

Status Daemon::Parts::OpenEngine() {
  secrets = ops::MakeSessionSecrets(sessions);
  devices = DevicesOf(config);
  devices->Current();  // what is wrong with the files is said now
  const ops::Services services{*store, *blocking, clock};
  factory = std::make_unique<ops::Factory>(services);
  ops::ExecServices exec;
  exec.executor = executor.get();
  exec.secrets = secrets.get();
  exec.devices = devices.get();
  exec.socket_dir = config.root + "/sockets";
  exec.log_limits = ops::LogLimits::From([](const char* name) { return std::getenv(name); });
  exec.default_network =
      config.network_mode == "none" ? executor::NetworkMode::kNone : executor::NetworkMode::kHost;
  factory->Register(llb::OpKind::kExec, ops::ExecOpMaker(services, exec));
  factory->Register(llb::OpKind::kSource, ops::MakeSourceOps(services, *sources));
  solver = std::make_unique<solver::Solver>(solver_loop, clock, cachedb, SolverOptionsOf(config));

  environment.solver = solver.get();
  environment.store = store.get();
  environment.ops = factory.get();
  environment.clock = &clock;
  environment.blocking = blocking.get();
  environment.allowed_entitlements = config.entitlements;
  if (!config.cdi_disabled) environment.allowed_entitlements.insert("device");
  if (!config.cdi_disabled) environment.devices = devices.get();

  frontends.sources = sources.get();
  frontends.clock = &clock;
  frontends.platforms = worker.platforms;
  if (config.dockerfile_frontend)
    frontends.frontends["dockerfile.v0"] = std::make_shared<frontend::DockerfileFrontend>();
  if (config.gateway_frontend) {
    frontends.frontends["gateway.v0"] =
        std::make_shared<frontend::GatewayFrontend>(config.gateway_repositories);
  }
  return OkStatus();
}

Status Daemon::Parts::OpenServices() {
  collector = std::make_unique<CacheCollector>(
      CacheCollector::Parts{store.get(), blocking.get(), &timers, &clock, worker.gc_policy});
  BuildSolver::Parts solve;
  solve.environment = &environment;
  solve.frontends = &frontends;
  solve.exporters =
      exporter::Services{store.get(), &sessions, registry.get(), &clock, blocking.get()};
  solve.jobs = &jobs;
  build_solver = std::make_unique<BuildSolver>(solve);

  ControlService::Parts parts;
  // What builds needed goes back to the kernel: each thread's heap keeps it otherwise.
  jobs.OnIdle([pool = blocking.get()] { pool->Submit([] { malloc_trim(0); }); });
  parts.jobs = &jobs;
  parts.sessions = &sessions;
  parts.poller = &poller;
  parts.blocking = blocking.get();
  parts.builds = builds.get();
  parts.clock = &clock;
  parts.worker = &worker;
  parts.devices = devices.get();
  parts.solver = build_solver.get();
  parts.collector = collector.get();
  parts.history = history.get();
  parts.store = store.get();
  parts.timers = &timers;
  control = std::make_unique<ControlService>(parts);

  moby::buildkit::v1::types::WorkerRecord record;
  ToProto(worker, &record);
  bridge = std::make_unique<frontend::BridgeService>(
      [this](const std::string& ref, std::function<void(Result<frontend::BridgePtr>)> done) {
        jobs.WhenBridge(ref, std::move(done));
      },
      *blocking, std::move(record));
  content = std::make_unique<ContentService>(*store, *history, *blocking);
  if (!config.tls.empty()) {
    TRY_ASSIGN(tls, rpc::TlsServer::Load(config.tls));
  }
  TRY_ASSIGN(server,
             rpc::Server::Start({control.get(), bridge.get(), content.get(), &health, &trace},
                                poller, {.pings = rpc::Pings()}));
  return OkStatus();
}

Daemon::Daemon(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Result<std::unique_ptr<Daemon>> Daemon::Start(const Config& config, sys::Spawner& spawner) {
  auto parts = std::make_unique<Parts>(config);
  TRY_ASSIGN(const std::string scratch, ScratchOf(config.root));
  TRY_ASSIGN(const sys::KernelFeatures kernel, sys::ProbeKernel(scratch));
  TRY(sys::CheckUsable(kernel));
  TRY_ASSIGN(parts->config.snapshotter, SnapshotterOf(config, kernel));
  const sys::Mounter mounter = sys::MakeMounter(kernel, scratch);
  TRY(parts->OpenStore(kernel, mounter));
  // Once, for whoever wonders about its speed or its limits.
  for (const auto& [minor, sentence] : sys::Shortcomings(kernel))
    KILN_LOG(minor ? LogLevel::kInfo : LogLevel::kWarning, "{}", sentence);

  parts->worker.platforms =
      config.platforms.empty() ? MachinePlatforms(spawner, scratch) : config.platforms;
  parts->worker.labels = LabelsOf(parts->config);
  parts->worker.gc_policy = GcRulesOf(config, DiskBytes(config.root));
  TRY_ASSIGN(parts->worker.id, StableId(config.root + "/workerid"));

  TRY(parts->OpenNetwork(spawner));
  TRY(parts->OpenExecutor(spawner, kernel, mounter));
  TRY(parts->OpenEngine());
  TRY(parts->OpenServices());
  parts->collector->Poke();
  return std::unique_ptr<Daemon>(new Daemon(std::move(parts)));
}

Daemon::~Daemon() { Shutdown(std::chrono::milliseconds(0)); }

Status Daemon::Listen(const std::string& address) {
  TRY_ASSIGN(const rpc::Address parsed, rpc::Address::Parse(address));
  TRY_ASSIGN(std::vector<Fd> sockets, rpc::ListenOn(parsed, parts_->config.socket_owner));
  for (Fd& socket : sockets) {
    // Of a socket that systemd passed only the socket itself tells what it is.
    TRY_ASSIGN(const bool network, rpc::IsNetworkSocket(socket));
    const bool configured = parts_->tls != nullptr;
    if (network && !configured) {
      LOG_WARNING("TLS is not enabled for {}: enabling mutual TLS is highly recommended", address);
    } else if (!network && configured && parsed.kind == rpc::Address::Kind::kFd) {
      LOG_WARNING("TLS is not used for the unix socket that systemd passed ({})", address);
    }
    std::string shown = address;
    if (network) {
      TRY_ASSIGN(const rpc::Address bound, rpc::BoundAddress(socket));
      shown = bound.ToString();
    }
    parts_->server->Accept(std::move(socket), network ? parts_->tls : nullptr);
    LOG_INFO("running server on {}", shown);
  }
  return OkStatus();
}

Status Daemon::ListenAll() {
  for (const std::string& address : parts_->config.addresses) TRY(Listen(address));
  return OkStatus();
}

Result<std::shared_ptr<grpc::Channel>> Daemon::InProcessChannel() {
  return parts_->server->InProcessChannel();
}

void Daemon::ShareTrees(const std::string& id, filesync::TreeSource* trees) {
  parts_->sessions.ShareTrees(id, trees);
}

size_t Daemon::active_builds() const { return parts_->jobs.Active().size(); }

void Daemon::Shutdown(std::chrono::milliseconds grace) {
  if (std::exchange(parts_->stopped, true)) return;
  Parts& parts = *parts_;
  // Connections are taken until the last build has ended: who asks for another is told why not.
  parts.jobs.Refuse(Unavailable("the build server is shutting down: no new builds"));
  if (!parts.jobs.WaitIdle(grace)) {
    parts.jobs.CancelAll(Unavailable("the build server is shutting down"));
    parts.jobs.WaitIdle(kCancelTime);
  }
  if (parts.server) parts.server->StopAccepting();
  // Answers are on their way; sessions and progress streams end with their builds.
  if (parts.server) parts.server->Shutdown(kAnswerTime);
  if (parts.collector) parts.collector->Stop();
  if (parts.solver) {
    Mutex mutex;
    CondVar changed;
    bool drained = false;
    parts.solver->Drain([&] {
      MutexLock lock(mutex);
      drained = true;
      changed.NotifyAll();
    });
    MutexLock lock(mutex);
    while (!drained) changed.Wait(lock);
  }
  parts.server.reset();
  // They speak of builds, and of pools that go before the loop does.
  parts.timers.StopTimers();
}

}  // namespace kiln::control
