#include "executor/oci_runtime.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "base/strings.h"
#include "executor/bundle.h"
#include "executor/cgroup.h"
#include "executor/testing/busybox_root.h"
#include "sys/command.h"
#include "sys/main_early.h"
#include "sys/testing/test_spawner.h"

namespace kiln::executor {
namespace {

// Real containers: a runtime, a busybox root as lower layer of an overlay. After every test nothing
// may be left.
class OciRuntimeTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    base_ = new sys::TempDir();
    FillBusyboxRoot(base_->path());
  }
  static void TearDownTestSuite() { delete base_; }

  OciRuntimeTest() {
    for (const char* name : {"upper", "work", "scratch"})
      EXPECT_EQ(mkdir((dir_ / name).c_str(), 0755), 0);
    kernel_ = sys::ProbeKernel(dir_ / "scratch").value();
  }

  void SetUp() override {
    if (geteuid() != 0 || !kernel_.overlay) GTEST_SKIP() << "containers need root and overlayfs";
    mounts_before_ = sys::ReadMountInfo()->size();
    runtime_ = MakeRuntime();
    spec_.root.what = sys::OverlayMount{.lowers = {base_->path()},
                                        .upper = dir_ / "upper",
                                        .work = dir_ / "work",
                                        .is_volatile = false};
  }

  std::unique_ptr<OciRuntime> MakeRuntime() {
    OciRuntimeOptions options{
        .state_dir = dir_ / "state",
        .environment = {std::string("PATH=") + kDefaultPath, "NOTIFY_SOCKET=/x"},
        .cgroup_parent = cgroup_};
    auto runtime = OciRuntime::Create(options, kernel_, sys::Mounter({}), sys::TestSpawner());
    EXPECT_TRUE(runtime.ok()) << runtime.error().ToString();
    return runtime.ok() ? std::move(*runtime) : nullptr;
  }

  void TearDown() override {
    if (!runtime_) return;
    EXPECT_EQ(sys::ReadMountInfo()->size(), mounts_before_);
    for (const char* name : {"state/containers", "state/runtime"}) {
      Fd open = OpenFile(dir_ / name, O_RDONLY | O_DIRECTORY).value();
      EXPECT_TRUE(sys::ReadDir(open.get())->empty()) << name;
    }
    runtime_.reset();
    std::vector<sys::MountInfo> mounts = sys::ReadMountInfo().value();
    for (const std::string& root : CgroupRoots(mounts)) {
      const std::string parent = root + "/" + cgroup_;
      EXPECT_NE(access((parent + "/kiln").c_str(), F_OK), 0) << root;
      rmdir(parent.c_str());
    }
  }

  Result<Outcome> Run() {
    out_.clear();
    err_.clear();
    Stdio stdio;
    stdio.output = [&](progress::Stream stream, std::string_view data) {
      (stream == progress::Stream::kStdout ? out_ : err_) += data;
      if (on_output_) on_output_();
    };
    return runtime_->Run(spec_, std::move(stdio), activity_);
  }

  // Runs a shell line that must succeed; its output.
  std::string Shell(const std::string& line) {
    spec_.args = {"/bin/sh", "-c", line};
    auto outcome = Run();
    EXPECT_TRUE(outcome.ok()) << outcome.error().ToString();
    EXPECT_TRUE(!outcome.ok() || outcome->exit_code == 0) << err_;
    return out_;
  }

  static sys::TempDir* base_;
  sys::TempDir dir_;
  sys::KernelFeatures kernel_;
  // Of this process alone: other engines of this machine, also those that have crashed, leave
  // theirs under /kiln.
  const std::string cgroup_ = fmt::format("kiln-test-{}", getpid());
  std::unique_ptr<OciRuntime> runtime_;
  size_t mounts_before_ = 0;
  ProcessSpec spec_;
  progress::Activity activity_;
  std::string out_;
  std::string err_;
  std::function<void()> on_output_;
};
sys::TempDir* OciRuntimeTest::base_ = nullptr;

TEST_F(OciRuntimeTest, ProcessesAreConfined) {
  std::string status = Shell("cat /proc/self/status");
  EXPECT_NE(status.find("CapEff:\t00000000a80425fb"), std::string::npos) << status;
  EXPECT_NE(status.find("CapBnd:\t00000000a80425fb"), std::string::npos);
  EXPECT_NE(status.find("CapInh:\t0000000000000000"), std::string::npos);
  EXPECT_NE(status.find("CapAmb:\t0000000000000000"), std::string::npos);
  EXPECT_NE(status.find("NoNewPrivs:\t0"), std::string::npos);
  EXPECT_NE(status.find("Seccomp:\t2"), std::string::npos);
  EXPECT_EQ(Shell("ls -A /sys/firmware | wc -l; unshare -m true 2>&1 || true; echo 1 2>/dev/null > "
                  "/proc/sys/kernel/domainname || echo readonly"),
            "0\nunshare: unshare(0x20000): Operation not permitted\nreadonly\n");
  EXPECT_EQ(Shell("hostname; echo $$; ls /proc/self/fd | wc -l; echo $$ 2>/dev/null > $(find "
                  "/sys/fs/cgroup -name cgroup.procs | head -n 1) || echo ro"),
            "buildkitsandbox\n1\n4\nro\n");
}

TEST_F(OciRuntimeTest, InsecureProcessesHoldWhatWeHold) {
  spec_.security = SecurityMode::kInsecure;
  std::string status = Shell("cat /proc/self/status; unshare -m true && echo unshared");
  EXPECT_NE(status.find("Seccomp:\t0"), std::string::npos);
  EXPECT_NE(status.find("unshared"), std::string::npos);
}

TEST_F(OciRuntimeTest, NamesAndHosts) {
  spec_.hostname = "builder";
  spec_.extra_hosts = {{"db", "10.1.2.3"}};
  EXPECT_EQ(Shell("hostname; cat /etc/hosts"),
            "builder\n127.0.0.1\tlocalhost builder\n::1\tlocalhost ip6-localhost "
            "ip6-loopback\n10.1.2.3\tdb\n");
  EXPECT_NE(Shell("cat /etc/resolv.conf").find("nameserver"), std::string::npos);
  EXPECT_EQ(Shell("echo x >> /etc/hosts 2>/dev/null || echo ro"), "ro\n");
  spec_.extra_hosts = {{"db", "nonsense"}};
  EXPECT_EQ(Run().error().ToString(), "failed to parse IP nonsense");
}

TEST_F(OciRuntimeTest, Networks) {
  char link[64] = {};
  ASSERT_GT(readlink("/proc/self/ns/net", link, sizeof link - 1), 0);
  EXPECT_EQ(Shell("readlink /proc/self/ns/net"), std::string(link) + "\n");
  spec_.network = NetworkMode::kNone;
  EXPECT_NE(Shell("readlink /proc/self/ns/net"), std::string(link) + "\n");
  EXPECT_EQ(Shell("ls /sys/class/net"), "lo\n");
}

TEST_F(OciRuntimeTest, UsersDirectoriesEnvironment) {
  spec_.user = "bob";
  spec_.cwd = "/work/new";
  spec_.env = {"A=1", "A=2", "B=x y"};
  EXPECT_EQ(Shell("id -u; id -G; pwd; stat -c %u:%a . /work; echo $A $B; echo $HOME"),
            "1000\n1000 50\n/work/new\n1000:755\n1000:755\n2 x y\n/home/bob\n");
  spec_.user = "who";
  EXPECT_EQ(Run().error().ToString(),
            "unable to find user who: no matching entries in passwd file");
}

TEST_F(OciRuntimeTest, ExitCodesAndProgramsThatAreMissing) {
  spec_.args = {"/bin/sh", "-c", "exit 42"};
  EXPECT_EQ(Run()->exit_code, 42);
  spec_.args = {"/bin/sh", "-c", "kill -9 $$; kill -TERM 1; sh -c 'kill -9 $$'; exit $?"};
  EXPECT_EQ(Run()->exit_code, 137);
  spec_.args = {"/no/such/program"};
  EXPECT_NE(Run()->exit_code, 0);
  EXPECT_NE(err_.find("/no/such/program"), std::string::npos) << err_;
}

TEST_F(OciRuntimeTest, OutputIsWholeAndInOrder) {
  spec_.args = {"/bin/sh", "-c",
                "seq 1 200000; seq 1 1000 >&2; dd if=/dev/zero bs=1M count=9 2>/dev/null"};
  ASSERT_EQ(Run()->exit_code, 0);
  std::string expected;
  for (int i = 1; i <= 200000; ++i) expected += std::to_string(i) + "\n";
  ASSERT_EQ(out_.size(), expected.size() + (9 << 20));
  EXPECT_TRUE(out_.starts_with(expected));
  EXPECT_TRUE(err_.starts_with("1\n2\n"));
  EXPECT_TRUE(err_.ends_with("999\n1000\n"));
}

TEST_F(OciRuntimeTest, InputIsEmptyUnlessGiven) {
  EXPECT_EQ(Shell("wc -c"), "0\n");
  auto pipe = Pipe().value();
  ASSERT_TRUE(WriteAll(pipe.second.get(), "hello").ok());
  pipe.second.Reset();
  spec_.args = {"/bin/cat"};
  std::string got;
  Stdio stdio{.output = [&](progress::Stream, std::string_view data) { got += data; },
              .input = std::move(pipe.first)};
  ASSERT_TRUE(runtime_->Run(spec_, std::move(stdio), activity_).ok());
  EXPECT_EQ(got, "hello");
}

TEST_F(OciRuntimeTest, CancellationEndsAStepThatDoesNotListen) {
  CancelSource source;
  activity_.cancel = source.token();
  on_output_ = [&] { source.Cancel(Cancelled("no longer wanted")); };
  spec_.args = {"/bin/sh", "-c", "sleep 1000 & echo started; sleep 1000"};
  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Run().error().ToString(), "no longer wanted");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4));
}

TEST_F(OciRuntimeTest, DeadlinesEndStepsToo) {
  activity_ = activity_.WithTimeout(std::chrono::milliseconds(300));
  spec_.args = {"/bin/sleep", "1000"};
  EXPECT_EQ(Run().error().code(), Code::kDeadlineExceeded);
}

TEST_F(OciRuntimeTest, CancellationIsPoliteToThoseWhoListen) {
  CancelSource source;
  activity_.cancel = source.token();
  on_output_ = [&] { source.Cancel(); };
  spec_.args = {
      "/bin/sh", "-c",
      "trap 'echo cleaned up; exit 3' TERM; echo started; while true; do usleep 10000; done"};
  EXPECT_EQ(Run().error().code(), Code::kCancelled);
  EXPECT_EQ(out_, "started\ncleaned up\n");
}

TEST_F(OciRuntimeTest, CancellationAtAnyMomentLeavesNothing) {
  spec_.args = {"/bin/sh", "-c", "echo x; sleep 1000"};
  for (int microseconds : {0, 2000, 8000, 15000, 25000, 40000, 60000}) {
    CancelSource source;
    activity_.cancel = source.token();
    CancelSource never;
    std::thread canceller([&] {
      (void)never.token().WaitFor(std::chrono::microseconds(microseconds));
      source.Cancel();
    });
    EXPECT_EQ(Run().error().code(), Code::kCancelled) << microseconds;
    canceller.join();
    EXPECT_EQ(sys::ReadMountInfo()->size(), mounts_before_) << microseconds;
  }
}

TEST_F(OciRuntimeTest, MountsAreSeenAndLeaveNoTrace) {
  for (const char* name : {"data", "data/sub", "other"})
    ASSERT_EQ(mkdir((dir_ / name).c_str(), 0755), 0);
  ASSERT_TRUE(WriteFileAtomically(dir_ / "data/sub/file", "in sub").ok());
  ASSERT_EQ(symlink("/sub/file", (dir_ / "data/link").c_str()), 0);
  ASSERT_EQ(symlink("../../../../etc/passwd", (dir_ / "data/escape").c_str()), 0);
  sys::MountDescription data{.what = sys::BindMount{.source = dir_ / "data"},
                             .flags = {.readonly = true}};
  spec_.mounts = {
      {.target = "/mnt/all", .what = data},
      {.target = "/mnt/dir", .what = data, .selector = "sub"},
      {.target = "/mnt/file", .what = data, .selector = "/link"},
      {.target = "/mnt/rw",
       .what = sys::MountDescription{.what = sys::BindMount{.source = dir_ / "other"}}},
      {.target = "/mnt/tmp",
       .what = sys::MountDescription{.what = sys::TmpfsMount{.size_bytes = 1 << 20}}},
      {.target = "/run/secrets/s",
       .what = SecretFile{.data = SecretString("hush"), .uid = 1000, .gid = 50, .mode = 0440}}};
  EXPECT_EQ(Shell("cat /mnt/all/sub/file /mnt/dir/file /mnt/file /run/secrets/s; stat -c ' %u:%g "
                  "%a' /run/secrets/s; touch /mnt/rw/made /mnt/tmp/x;"
                  "touch /mnt/all/x 2>/dev/null || echo ro; echo x > /mnt/dir/file 2>/dev/null || "
                  "echo ro; echo x 2>/dev/null > /run/secrets/s || echo ro"),
            "in subin subin subhush 1000:50 440\nro\nro\nro\n");
  EXPECT_TRUE(ReadFile(dir_ / "other/made").ok());
  EXPECT_FALSE(sys::RootedPath::Open(dir_ / "upper")->Exists("mnt").value());
  EXPECT_FALSE(sys::RootedPath::Open(dir_ / "upper")->Exists("run").value());
  spec_.mounts = {{.target = "/mnt/x", .what = data, .selector = "escape"}};
  auto escaped = Run();
  ASSERT_FALSE(escaped.ok());
  EXPECT_EQ(escaped.error().code(), Code::kNotFound);
  spec_.mounts = {{.target = "/mnt/x", .what = data, .selector = "missing"}};
  EXPECT_EQ(Run().error().ToString(), "mount /mnt/x: open missing: No such file or directory");
}

TEST_F(OciRuntimeTest, TheLayerHoldsOnlyWhatTheProcessDid) {
  Shell("echo made > /tmp/made");
  std::string seen;
  ASSERT_TRUE(sys::Walk(sys::RootedPath::Open(dir_ / "upper").value(), "",
                        [&](const sys::WalkEntry& entry) -> Result<sys::WalkNext> {
                          if (!entry.info.IsDirectory()) seen += entry.path + " ";
                          return sys::WalkNext::kContinue;
                        })
                  .ok());
  EXPECT_EQ(seen, "tmp/made ");
  // Copied up for the mount points' sake, but as it was.
  EXPECT_EQ(sys::StatAt(AT_FDCWD, dir_ / "upper/etc")->mtime,
            sys::StatAt(AT_FDCWD, *base_ / "etc")->mtime);
}

TEST_F(OciRuntimeTest, ReadOnlyRootsStillGetTheirMountPoints) {
  spec_.readonly_root = true;
  spec_.mounts = {
      {.target = "/new/place", .what = sys::MountDescription{.what = sys::TmpfsMount{}}}};
  EXPECT_EQ(Shell("touch /x 2>/dev/null || echo ro; touch /new/place/x && echo rw"), "ro\nrw\n");
}

TEST_F(OciRuntimeTest, LimitsApply) {
  spec_.ulimits = {{"nofile", 123, 456}};
  EXPECT_EQ(Shell("ulimit -n; ulimit -Hn"), "123\n456\n");
  spec_.limits.memory_bytes = 16 << 20;
  spec_.limits.memory_swap_bytes = 16 << 20;
  spec_.args = {"/bin/sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1"};
  auto outcome = Run();
  ASSERT_TRUE(outcome.ok());
  EXPECT_NE(outcome->exit_code, 0);
  EXPECT_TRUE(outcome->out_of_memory);
}

TEST_F(OciRuntimeTest, StepsRunSideBySide) {
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 4; ++i) {
    std::string name = std::to_string(i);
    for (const char* kind : {"upper", "work"})
      ASSERT_EQ(mkdir((dir_ / (kind + name)).c_str(), 0755), 0);
    threads.emplace_back([&, name] {
      ProcessSpec spec = spec_;
      spec.root.what = sys::OverlayMount{.lowers = {base_->path()},
                                         .upper = dir_ / ("upper" + name),
                                         .work = dir_ / ("work" + name)};
      spec.args = {"/bin/sh", "-c", "echo " + name + " > /tmp/me; cat /tmp/me"};
      std::string out;
      auto outcome = runtime_->Run(
          spec, {.output = [&](progress::Stream, std::string_view data) { out += data; }},
          activity_);
      good += outcome.ok() && outcome->ok() && out == name + "\n";
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 4);
}

// An earlier life: a runtime started with our state, its container still running, nobody left who
// knows.
TEST_F(OciRuntimeTest, StaleContainersAreEnded) {
  BundleSettings settings{
      .directory = dir_ / "state/containers", .cgroup = kernel_.cgroup, .cgroup_parent = cgroup_};
  sys::Mounter mounter({});
  spec_.args = {"/bin/sleep", "1000"};
  // Lives until all has been looked at: a killed daemon cleans nothing up.
  const auto bundle = Bundle::Create(settings, mounter, spec_, {}, "stale").value();
  auto result =
      sys::RunCommand(sys::TestSpawner(),
                      {.program = runtime_->binary(),
                       .args = {"--root", dir_ / "state/runtime", "run", "--detach", "--bundle",
                                bundle->path(), "--pid-file", bundle->path() + "/pid", "stale"},
                       .env = {std::string("PATH=") + kDefaultPath},
                       .fds = {}},
                      {});
  ASSERT_TRUE(result.ok());
  ASSERT_TRUE(result->status.ok()) << result->err;
  pid_t pid = static_cast<pid_t>(ParseInt(Trim(ReadFile(bundle->path() + "/pid").value())).value());
  ASSERT_EQ(kill(pid, 0), 0);
  ASSERT_TRUE(runtime_->RecoverStale().ok());
  EXPECT_NE(kill(pid, 0), 0);
}

// What the image has where files of ours would go is not in the way.
TEST_F(OciRuntimeTest, HostsMayBeAFolderOrALink) {
  const std::string etc = dir_ / "upper/etc";
  ASSERT_EQ(mkdir(etc.c_str(), 0755), 0);
  ASSERT_EQ(mkdir((etc + "/hosts").c_str(), 0755), 0);
  ASSERT_TRUE(WriteFileAtomically(etc + "/hosts/own", "own").ok());
  ASSERT_EQ(symlink("../run/resolv.conf", (etc + "/resolv.conf").c_str()), 0);
  EXPECT_EQ(Shell("cat /etc/hosts/own; test -e /run/resolv.conf && echo; test -L /etc/resolv.conf "
                  "&& echo link"),
            "own\nlink\n");
  EXPECT_NE(access((dir_ / "upper/run/resolv.conf").c_str(), F_OK), 0);
}

TEST_F(OciRuntimeTest, AMachineWithoutRuntimeIsTold) {
  auto create = [&](OciRuntimeOptions options) {
    options.state_dir = dir_ / "state";
    return OciRuntime::Create(std::move(options), kernel_, sys::Mounter({}), sys::TestSpawner());
  };
  EXPECT_EQ(create({.binary = "/no/runc"}).error().ToString(),
            "no OCI runtime works here (/no/runc: not installed); install runc");
  EXPECT_FALSE(create({.environment = {"PATH=/nowhere"}}).ok());
  kernel_.cgroup = sys::CgroupMode::kHybrid;
  EXPECT_EQ(create({.binary = "crun"}).error().ToString(),
            "no OCI runtime works here (crun: does not run with cgroups v1 and v2 mixed, as on "
            "this machine); install runc");
  EXPECT_TRUE(runtime_->Version()->starts_with("runc version"));
}

}  // namespace
}  // namespace kiln::executor
