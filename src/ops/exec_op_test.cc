#include "ops/exec_op.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <mutex>

#include "cachedb/snapshot_result.h"
#include "executor/oci_runtime.h"
#include "executor/testing/busybox_root.h"
#include "executor/testing/fake_executor.h"
#include "llb/marshal.h"
#include "ops/testing/graph_runner.h"
#include "sys/command.h"
#include "sys/kernel.h"
#include "sys/testing/test_spawner.h"

namespace kiln::ops {
namespace {

using executor::FakeExecutor;
using executor::Outcome;
using executor::ProcessSpec;
using llb::Exec;
using llb::ExecMount;
using llb::ExecSpec;
using llb::File;
using llb::MkfileAction;
using llb::Output;
using testing::ElementsAre;

class FakeSecrets final : public StepSecrets {
 public:
  Result<SecretString> GetSecret(const progress::Activity&, const std::string& id) override {
    auto found = secrets.find(id);
    if (found == secrets.end()) return NotFound("secret {}: not found", id);
    return SecretString(found->second);
  }
  Status CheckSshAgent(const progress::Activity&, const std::string& id) override {
    if (id != agent) return NotFound("no agent {}", id);
    return OkStatus();
  }
  // Answers the first message with "<id> says <message>".
  Status ForwardSshAgent(const progress::Activity&, const std::string& id, Fd connection) override {
    char buffer[256];
    TRY_ASSIGN(size_t got, ReadSome(connection.get(), buffer, sizeof buffer));
    return WriteAll(connection.get(), fmt::format("{} says {}", id, std::string_view(buffer, got)));
  }

  std::map<std::string, std::string> secrets;
  std::string agent;
};

class LogSink final : public progress::Sink {
 public:
  void OnVertex(const progress::Vertex&) override {}
  void OnStatus(const progress::VertexStatus&) override {}
  void OnWarning(const progress::VertexWarning&) override {}
  void OnLog(const progress::VertexLog& log) override {
    std::lock_guard lock(mutex);
    (log.stream == progress::Stream::kStdout ? out : err) += log.data;
  }
  std::mutex mutex;
  std::string out;
  std::string err;
};

class ExecOpTest : public testing::Test {
 protected:
  void UseExecutor(executor::Executor& executor) {
    exec_ = {.executor = &executor,
             .secrets = &secrets_,
             .socket_dir = dir_ / "sockets",
             .devices = exec_.devices};
    runner_.factory().Register(llb::OpKind::kExec, ExecOpMaker(runner_.services(), exec_));
    runner_.activity().sink = log_;
  }
  void UseFake(FakeExecutor::Behaviour behaviour = {}) {
    fake_ = std::make_unique<FakeExecutor>(std::move(behaviour));
    UseExecutor(*fake_);
  }
  ProcessSpec LastSpec() {
    std::vector<ProcessSpec> specs = fake_->specs();
    EXPECT_FALSE(specs.empty()) << "nothing ran";
    return specs.empty() ? ProcessSpec() : specs.back();
  }
  std::string ErrorOf(const Output& output) {
    auto ref = runner_.Run(output);
    return ref.ok() ? "" : ref.error().ToString();
  }
  store::SnapshotRef Ran(const Output& output) {
    auto ref = runner_.Run(output);
    EXPECT_TRUE(ref.ok()) << ref.error().ToString();
    return ref.ok() ? *ref : store::SnapshotRef();
  }
  // The op of a definition's last vertex.
  solver::OpPtr OpOf(const Output& output) {
    pb::Definition definition = llb::Marshal(output).value();
    llb::Graph graph = llb::Load(definition).value();
    return runner_.factory().Make(graph, graph.root.vertex).value();
  }

  sys::TempDir dir_;
  FakeSecrets secrets_;
  std::shared_ptr<LogSink> log_ = std::make_shared<LogSink>();
  std::unique_ptr<FakeExecutor> fake_;
  ExecServices exec_;
  GraphRunner runner_;
};

Output Base() { return File({}, {MkfileAction{.path = "/base", .data = "base"}}); }

// Writes a file into what a process would see at `target` ("/": its root).
void WriteAt(const ProcessSpec& spec, const std::string& target, const std::string& name) {
  sys::MountDescription description = spec.root;
  for (const auto& mount : spec.mounts) {
    if (mount.target == target) description = std::get<sys::MountDescription>(mount.what);
  }
  auto tree = sys::Mounter({}).Make(description);
  ASSERT_TRUE(tree.ok()) << tree.error().ToString();
  auto written = tree->Root()->WriteFile(name, name);
  ASSERT_TRUE(written.ok()) << written.error().ToString();
}

const executor::StepMount* MountAt(const ProcessSpec& spec, const std::string& target) {
  for (const auto& mount : spec.mounts) {
    if (mount.target == target) return &mount;
  }
  return nullptr;
}

TEST_F(ExecOpTest, TheProcessIsWhatTheOpSays) {
  UseFake();
  secrets_.secrets = {{"token", "hush"}};
  ExecSpec spec{.root = Base(),
                .args = {"/bin/sh", "-c", "x"},
                .env = {"A=1"},
                .cwd = "/work",
                .user = "bob",
                .hostname = "h",
                .extra_hosts = {{"db", "1.2.3.4"}},
                .ulimits = {{"nofile", 1, 2}},
                .cgroup_parent = "parent",
                .proxy_env = llb::ProxyEnv{.http_proxy = "p"},
                .network = llb::NetworkMode::kNone};
  spec.secrets = {{.id = "token", .env = "TOKEN"}, {.id = "none", .env = "NONE", .optional = true}};
  Ran(Exec(spec, {.linux_resources = llb::LinuxResources{.memory_bytes = 77}}).root);
  ProcessSpec seen = LastSpec();
  EXPECT_THAT(seen.args, ElementsAre("/bin/sh", "-c", "x"));
  EXPECT_THAT(seen.env,
              ElementsAre("A=1", "HTTP_PROXY=p", "http_proxy=p",
                          std::string("PATH=") + executor::kDefaultPath, "TOKEN=hush", "NONE="));
  EXPECT_EQ(seen.cwd, "/work");
  EXPECT_EQ(seen.user, "bob");
  EXPECT_EQ(seen.hostname, "h");
  EXPECT_EQ(seen.extra_hosts[0].ip, "1.2.3.4");
  EXPECT_EQ(seen.ulimits[0].hard, 2);
  EXPECT_EQ(seen.cgroup_parent, "parent");
  EXPECT_EQ(seen.network, executor::NetworkMode::kNone);
  EXPECT_EQ(seen.limits.memory_bytes, 77);
  EXPECT_TRUE(seen.remove_stubs_recursively);
  EXPECT_EQ(seen.security, executor::SecurityMode::kSandbox);
}

TEST_F(ExecOpTest, ResultsAreWhatMountsHoldAfterwards) {
  UseFake(
      [](const ProcessSpec& spec, executor::Stdio&, const progress::Activity&) -> Result<Outcome> {
        WriteAt(spec, "/", "in-root");
        WriteAt(spec, "/rw", "in-rw");
        WriteAt(spec, "/scratch", "in-scratch");
        WriteAt(spec, "/dropped", "in-dropped");
        return Outcome();
      });
  Output data = File({}, {MkfileAction{.path = "/data", .data = "data"}});
  ExecSpec spec{.root = Base(), .args = {"x"}};
  spec.mounts = {{.dest = "/rw", .source = data},
                 {.dest = "/scratch"},
                 {.dest = "/ro", .source = data, .selector = "/sel", .readonly = true},
                 {.dest = "/dropped", .source = data, .no_output = true}};
  llb::ExecOutputs outputs = Exec(spec);
  EXPECT_THAT(runner_.List(Ran(outputs.root)), ElementsAre("/base", "/in-root"));
  EXPECT_THAT(runner_.List(Ran(*outputs.mounts[0])), ElementsAre("/data", "/in-rw"));
  EXPECT_THAT(runner_.List(Ran(*outputs.mounts[1])), ElementsAre("/in-scratch"));
  EXPECT_FALSE(outputs.mounts[3].has_value());
  ProcessSpec seen = LastSpec();
  EXPECT_EQ(MountAt(seen, "/ro")->selector, "/sel");
  EXPECT_TRUE(std::get<sys::MountDescription>(MountAt(seen, "/ro")->what).flags.readonly);
  EXPECT_FALSE(std::get<sys::MountDescription>(MountAt(seen, "/dropped")->what).flags.readonly);
}

TEST_F(ExecOpTest, RelativeTargetsLieInTheWorkingDirectory) {
  UseFake();
  ExecSpec spec{.root = Base(), .readonly_root = true, .args = {"x"}, .cwd = "/work"};
  spec.mounts = {{.dest = "rel/../dir", .tmpfs = llb::TmpfsMount{.size_bytes = 4096}},
                 {.dest = "/out"}};
  Ran(*Exec(spec).mounts[1]);
  ProcessSpec seen = LastSpec();
  const auto* mount = MountAt(seen, "/work/dir");
  ASSERT_NE(mount, nullptr);
  EXPECT_EQ(std::get<sys::TmpfsMount>(std::get<sys::MountDescription>(mount->what).what).size_bytes,
            4096u);
  EXPECT_TRUE(seen.readonly_root);
}

std::string CachePath(const ProcessSpec& spec) {
  const auto* mount = MountAt(spec, "/cache");
  const auto& description = std::get<sys::MountDescription>(mount->what);
  return std::get<sys::BindMount>(description.what).source;
}

TEST_F(ExecOpTest, CacheMountsOutliveStepsUntilRenewed) {
  std::vector<std::string> paths;
  std::vector<bool> had;
  UseFake(
      [&](const ProcessSpec& spec, executor::Stdio&, const progress::Activity&) -> Result<Outcome> {
        paths.push_back(CachePath(spec));
        had.push_back(access((paths.back() + "/kept").c_str(), F_OK) == 0);
        EXPECT_TRUE(WriteFileAtomically(paths.back() + "/kept", "x").ok());
        return Outcome();
      });
  auto step = [&](const char* arg, const char* id, bool ignore_cache = false, Output source = {}) {
    ExecSpec spec{.root = Base(), .args = {arg}};
    spec.mounts = {
        {.dest = "/cache", .source = std::move(source), .cache = llb::CacheMount{.id = id}}};
    return Ran(Exec(spec, {.ignore_cache = ignore_cache}).root);
  };
  step("1", "a");
  step("2", "a");
  step("3", "b");
  step("4", "a", true);
  Output seed = File({}, {MkfileAction{.path = "/seed", .data = "seed"}});
  step("5", "a", false, seed);
  EXPECT_EQ(paths[0], paths[1]);
  EXPECT_NE(paths[0], paths[2]);
  EXPECT_THAT(had, ElementsAre(false, true, false, false, false));
  EXPECT_EQ(ReadFile(paths[4] + "/seed").value(), "seed");
}

TEST_F(ExecOpTest, LockedCacheMountsAreLockedByTheSolver) {
  UseFake();
  ExecSpec spec{.root = Base(), .args = {"x"}};
  auto cache = [](const char* dest, const char* id, llb::CacheSharing sharing) {
    return ExecMount{.dest = dest, .cache = llb::CacheMount{.id = id, .sharing = sharing}};
  };
  spec.mounts = {
      cache("/1", "z", llb::CacheSharing::kLocked), cache("/2", "a", llb::CacheSharing::kLocked),
      cache("/3", "a", llb::CacheSharing::kLocked), cache("/4", "s", llb::CacheSharing::kShared)};
  solver::RunNeeds needs = OpOf(Exec(spec).root)->needs();
  EXPECT_EQ(needs.slot, solver::SlotKind::kExec);
  EXPECT_THAT(needs.locks, ElementsAre("cache mount a", "cache mount z"));
}

TEST_F(ExecOpTest, SecretsAreFilesOfOneRun) {
  UseFake();
  secrets_.secrets = {{"s", "hush"}};
  ExecSpec spec{.root = Base(), .args = {"x"}};
  spec.secrets = {{.id = "s", .target = "/run/secrets/s", .uid = 5, .gid = 6, .mode = 0440},
                  {.id = "none", .target = "/run/secrets/none", .optional = true}};
  Ran(Exec(spec).root);
  ProcessSpec seen = LastSpec();
  const auto& file = std::get<executor::SecretFile>(MountAt(seen, "/run/secrets/s")->what);
  EXPECT_EQ(file.data.Reveal(), "hush");
  EXPECT_EQ(file.uid, 5u);
  EXPECT_EQ(file.mode, 0440u);
  EXPECT_EQ(MountAt(seen, "/run/secrets/none"), nullptr);
  spec.secrets = {{.id = "none", .target = "/x"}};
  EXPECT_EQ(ErrorOf(Exec(spec).root), "secret none: not found");
  spec.secrets = {{.id = "none", .env = "X"}};
  EXPECT_EQ(ErrorOf(Exec(spec).root), "secret none: not found");
}

TEST_F(ExecOpTest, AgentsAreReachedThroughASocket) {
  secrets_.agent = "key";
  UseFake([](const ProcessSpec& spec, executor::Stdio& stdio,
             const progress::Activity&) -> Result<Outcome> {
    const auto& description = std::get<sys::MountDescription>(MountAt(spec, "/agent")->what);
    std::string path = std::get<sys::BindMount>(description.what).source;
    TRY_ASSIGN(sys::FileInfo info, sys::StatAt(AT_FDCWD, path));
    EXPECT_TRUE(S_ISSOCK(info.mode));
    EXPECT_EQ(info.mode & 07777, 0640u);
    EXPECT_EQ(info.uid, 7u);
    sys::CommandResult got;
    for (int i = 0; i < 3; ++i) {
      TRY_ASSIGN(
          got,
          sys::RunCommand(
              sys::TestSpawner(),
              {.program = "/bin/busybox", .args = {"nc", "local:" + path}, .input = "hi"}, {}));
      stdio.output(progress::Stream::kStdout, got.out);
    }
    return Outcome();
  });
  ExecSpec spec{.root = Base(), .args = {"x"}};
  spec.ssh = {{.id = "key", .target = "/agent", .uid = 7, .gid = 0, .mode = 0640},
              {.id = "other", .target = "/other", .optional = true}};
  Ran(Exec(spec).root);
  EXPECT_EQ(MountAt(LastSpec(), "/other"), nullptr);
  Fd sockets = OpenFile(dir_ / "sockets", O_RDONLY | O_DIRECTORY).value();
  EXPECT_TRUE(sys::ReadDir(sockets.get())->empty());
  spec.ssh = {{.id = "other", .target = "/other"}};
  EXPECT_EQ(ErrorOf(Exec(spec).root), "no SSH key \"other\" forwarded from the client");
}

TEST_F(ExecOpTest, FailuresSayWhatRanAndHowItEnded) {
  Outcome outcome{.exit_code = 3};
  UseFake([&](const ProcessSpec&, executor::Stdio&, const progress::Activity&) -> Result<Outcome> {
    return outcome;
  });
  ExecSpec spec{.root = Base(), .args = {"/bin/sh", "-c", "echo \"x\"\nfalse"}};
  auto failed = runner_.Run(Exec(spec).root);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(
      failed.error().ToString(),
      "process \"/bin/sh -c echo \\\"x\\\"\\nfalse\" did not complete successfully: exit code: 3");
  EXPECT_EQ(failed.error().code(), Code::kUnknown);
  const ErrorDetail* detail =
      failed.error().FindDetail("github.com/moby/buildkit/gatewayapi.ExitMessage+json");
  ASSERT_NE(detail, nullptr);
  EXPECT_EQ(detail->value, "{\"Code\":3}");
  spec.args = {"x"};
  spec.valid_exit_codes = {3, 4};
  EXPECT_EQ(ErrorOf(Exec(spec).root), "");
  outcome = {.exit_code = 0};
  EXPECT_EQ(ErrorOf(Exec(spec).root), "process \"x\" did not complete successfully: exit code: 0");
  outcome = {.exit_code = 137, .out_of_memory = true};
  EXPECT_EQ(ErrorOf(Exec(spec).root),
            "process \"x\" did not complete successfully: cannot allocate memory");
}

TEST_F(ExecOpTest, CancellationKeepsItsReason) {
  CancelSource source;
  runner_.activity().cancel = source.token();
  UseFake([&](const ProcessSpec&, executor::Stdio&,
              const progress::Activity& activity) -> Result<Outcome> {
    source.Cancel(Cancelled("enough"));
    return activity.Check().error();
  });
  auto failed = runner_.Run(Exec({.root = Base(), .args = {"x"}}).root);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), Code::kCancelled);
}

TEST_F(ExecOpTest, DevicesChangeTheContainer) {
  cdi::Registry devices({dir_.path()}, {});
  ASSERT_TRUE(WriteFileAtomically(dir_ / "a.yaml", R"(
cdiVersion: 0.6.0
kind: v.com/x
devices:
- {name: a, containerEdits: {env: [D=a], deviceNodes: [{path: /dev/zilch, hostPath: /dev/null}]}}
- {name: gone, containerEdits: {deviceNodes: [{path: /not/there}]}}
)")
                  .ok());
  exec_.devices = &devices;
  UseFake();
  Ran(Exec({.root = Base(),
            .args = {"x"},
            .devices = {{.name = "v.com/x=a"}, {.name = "v.com/y=b", .optional = true}}})
          .root);
  const cdi::ContainerEdits edits = LastSpec().device_edits;
  EXPECT_THAT(edits.env, ElementsAre("D=a"));
  ASSERT_EQ(edits.device_nodes.size(), 1u);
  EXPECT_EQ(edits.device_nodes[0].minor, 3);
  EXPECT_THAT(
      ErrorOf(Exec({.root = Base(), .args = {"x"}, .devices = {{.name = "v.com/x=gone"}}}).root),
      testing::HasSubstr(
          "process \"x\" did not complete successfully: CDI device injection failed: "
          "failed to inject devices: failed to stat CDI host device \"/not/there\""));
}

TEST_F(ExecOpTest, DevicesThatAreNotThereAreRefused) {
  UseFake();
  EXPECT_EQ(
      ErrorOf(Exec({.root = Base(), .args = {"x"}, .devices = {{.name = "a/b=c"}}}).root),
      "process \"x\" did not complete successfully: CDI device injection failed: required device "
      "\"a/b=c\" is not registered");
  Ran(Exec({.root = Base(), .args = {"x"}, .devices = {{.name = "a/b=c", .optional = true}}}).root);
}

TEST_F(ExecOpTest, ForeignPlatformsAreEmulatedIfTheyCan) {
  UseFake();
  ASSERT_TRUE(WriteFileAtomically(dir_ / "buildkit-qemu-aarch64", "", 0755).ok());
  exec_.platforms = {{.os = "linux", .architecture = "amd64"},
                     {.os = "linux", .architecture = "386"}};
  exec_.emulator_dirs = {"/nowhere", dir_.path()};
  runner_.factory().Register(llb::OpKind::kExec, ExecOpMaker(runner_.services(), exec_));
  auto args_on = [&](oci::Platform platform) {
    Ran(Exec({.root = Base(), .args = {"x"}}, {.platform = platform}).root);
    return LastSpec().args;
  };
  EXPECT_THAT(args_on({.os = "linux", .architecture = "amd64"}), ElementsAre("x"));
  EXPECT_THAT(args_on({.os = "linux", .architecture = "arm64"}),
              ElementsAre("/dev/.buildkit_qemu_emulator", "x"));
  EXPECT_THAT(args_on({.os = "linux", .architecture = "s390x"}), ElementsAre("x"));
  EXPECT_EQ(
      ErrorOf(
          Exec({.root = Base(), .args = {"x"}},
               {.platform = oci::Platform{.os = "linux", .architecture = "amd64", .variant = "v4"}})
              .root),
      "no support for running processes with linux/amd64/v4");
}

TEST_F(ExecOpTest, TwinsGetTheLooserLimits) {
  UseFake();
  auto op = [&](llb::LinuxResources resources) {
    return OpOf(Exec({.root = {}, .args = {"x"}}, {.linux_resources = resources}).root);
  };
  auto limits_after = [&](llb::LinuxResources a, llb::LinuxResources b) {
    solver::OpPtr first = op(a);
    first->MergeTwin(*op(b));
    EXPECT_TRUE(runner_.RunOp(*first, {}).ok());
    return LastSpec().limits;
  };
  EXPECT_EQ(limits_after({.memory_bytes = 10}, {.memory_bytes = 20}).memory_bytes, 20);
  EXPECT_EQ(limits_after({.memory_bytes = 10}, {}).memory_bytes, 0);
  EXPECT_EQ(limits_after({.memory_swap_bytes = 10}, {.memory_swap_bytes = -1}).memory_swap_bytes,
            -1);
  executor::ResourceLimits cpu = limits_after({.cpu_period_us = 100, .cpu_quota_us = 50},
                                              {.cpu_period_us = 10, .cpu_quota_us = 8});
  EXPECT_EQ(cpu.cpu_period_us, 10u);
  EXPECT_EQ(cpu.cpu_quota_us, 8);
  EXPECT_EQ(limits_after({.cpuset_cpus = "0"}, {.cpuset_cpus = "1"}).cpuset_cpus, "0,1");
}

// With a real runtime, on a root that stands in for an image.
class ExecOpRuntimeTest : public ExecOpTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "containers need root";
    ASSERT_EQ(mkdir((dir_ / "scratch").c_str(), 0755), 0);
    sys::KernelFeatures kernel = sys::ProbeKernel(dir_ / "scratch").value();
    runtime_ = executor::OciRuntime::Create(
                   {.state_dir = dir_ / "executor",
                    .environment = {std::string("PATH=") + executor::kDefaultPath}},
                   kernel, sys::Mounter({}), sys::TestSpawner())
                   .value();
    UseExecutor(*runtime_);
    runner_.factory().Register(
        llb::OpKind::kSource, [this](const llb::Vertex& vertex, const OpOptions& options) {
          return Result<solver::OpPtr>(
              std::make_shared<BusyboxOp>(runner_.services(), vertex, options));
        });
  }

  class BusyboxOp final : public SnapshotOp {
   public:
    BusyboxOp(const Services& services, const llb::Vertex& vertex, const OpOptions& options)
        : SnapshotOp(services, vertex, options, {}) {}
    solver::RunNeeds needs() const override { return {}; }

   protected:
    Result<StepOutput> RunStep(solver::RunContext& context,
                               const std::vector<store::SnapshotRef>&) override {
      TRY_ASSIGN(store::ActiveSnapshot active, services().store.Prepare(context.activity(), {}));
      executor::FillBusyboxRoot(active.upper_dir());
      TRY_ASSIGN(store::SnapshotRef ref, services().store.Commit(std::move(active), {}));
      return StepOutput{.results = {std::move(ref)}};
    }
  };

  static Output Busybox() {
    return llb::Source({.identifier = "docker-image://docker.io/library/busybox:latest"});
  }
  static Output Run(Output root, const std::string& line, std::vector<ExecMount> mounts = {}) {
    return Exec({.root = std::move(root),
                 .args = {"/bin/sh", "-c", line},
                 .mounts = std::move(mounts)})
        .root;
  }

  std::unique_ptr<executor::OciRuntime> runtime_;
};

TEST_F(ExecOpRuntimeTest, StepsBuildOnEachOther) {
  Output first = Run(Busybox(), "echo one > /tmp/one; rm /bin/ip");
  Output second = Run(first, "cat /tmp/one; test -e /bin/ip || echo gone; echo two > /two");
  store::SnapshotRef ref = Ran(second);
  EXPECT_EQ(log_->out, "one\ngone\n");
  EXPECT_EQ(runner_.Read(ref, "/tmp/one"), "one\n");
  EXPECT_EQ(runner_.Read(ref, "/two"), "two\n");
  EXPECT_EQ(runner_.Describe(ref, "/bin/ip"), "<missing>");
  EXPECT_EQ(runner_.Describe(ref, "/etc/resolv.conf"), "<missing>");
  EXPECT_EQ(runner_.Describe(ref, "/etc/hosts"), "<missing>");
}

TEST_F(ExecOpRuntimeTest, MountsOfEveryKindAtOnce) {
  secrets_.secrets = {{"s", "hush"}};
  Output tree = File(
      {}, {llb::MkdirAction{.path = "/sub"}, MkfileAction{.path = "/sub/f", .data = "in sub"}});
  ExecSpec spec{.root = Busybox(),
                .args = {"/bin/sh", "-c",
                         "cat /m/part/f /run/secrets/s; echo x > /out/made; echo y > /cache/kept; "
                         "touch /t/x; touch /m/all/x 2>/dev/null || echo ro"}};
  spec.mounts = {{.dest = "/m/part", .source = tree, .selector = "/sub", .readonly = true},
                 {.dest = "/m/all", .source = tree, .readonly = true},
                 {.dest = "/out"},
                 {.dest = "/cache", .cache = llb::CacheMount{.id = "c"}},
                 {.dest = "/t", .tmpfs = llb::TmpfsMount{}}};
  spec.secrets = {{.id = "s", .target = "/run/secrets/s"}};
  llb::ExecOutputs outputs = Exec(spec);
  EXPECT_EQ(runner_.Read(Ran(*outputs.mounts[2]), "/made"), "x\n");
  EXPECT_EQ(log_->out, "in subhushro\n");
  store::SnapshotRef root = Ran(outputs.root);
  for (const char* path : {"/m", "/out", "/cache", "/t", "/run"})
    EXPECT_EQ(runner_.Describe(root, path), "<missing>") << path;
}

TEST_F(ExecOpRuntimeTest, FailuresShowTheirOutput) {
  EXPECT_EQ(
      ErrorOf(Run(Busybox(), "echo why >&2; exit 9")),
      "process \"/bin/sh -c echo why >&2; exit 9\" did not complete successfully: exit code: 9");
  EXPECT_EQ(log_->err, "why\n");
  EXPECT_EQ(ErrorOf(Exec({.root = Busybox(), .args = {"x"}, .user = "eve"}).root),
            "process \"x\" did not complete successfully: unable to find user eve: no matching "
            "entries in passwd file");
}

}  // namespace
}  // namespace kiln::ops
