#include "sys/spawner.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/strings.h"
#include "sys/command.h"
#include "sys/syscalls.h"
#include "sys/testing/test_spawner.h"

namespace kiln::sys {
namespace {

std::string ChildProgram() { return ProgramBeside("sys_child"); }

CommandResult RunChild(std::vector<std::string> args, Command command = {}) {
  command.program = ChildProgram();
  command.args = std::move(args);
  auto result = RunCommand(TestSpawner(), std::move(command), {});
  EXPECT_TRUE(result.ok()) << result.error().ToString();
  return result.ok() ? *result : CommandResult();
}

TEST(SpawnerTest, TellsHowChildrenEnd) {
  EXPECT_EQ(RunChild({}).status, ExitStatus{});
  EXPECT_EQ(RunChild({"exit=7"}).status.code, 7);
  EXPECT_EQ(RunChild({"signal=9"}).status.signal, 9);
  EXPECT_EQ(RunChild({"signal=9"}).status.ToString(), "killed by signal 9 (Killed)");
}

TEST(SpawnerTest, ChildrenStartClean) {
  Fd leak(open("/dev/null", O_RDONLY));  // no close-on-exec
  EXPECT_EQ(RunChild({"fds"}).out, "fds 0 1 2 \n");
  EXPECT_EQ(RunChild({"signals"}).out, "odd signals 0\n");
  EXPECT_EQ(RunChild({"state"}, {.cwd = "/usr", .umask = 027}).out,
            "cwd /usr\numask 27\nsession 0\ngroup 1\ndeath 9\n");
  EXPECT_EQ(RunChild({"env=A"}, {.env = {"A=1 2"}}).out, "1 2\n");
}

TEST(SpawnerTest, DescriptorsLandWhereTheyShould) {
  auto a = Pipe().value();
  auto b = Pipe().value();
  Command command;
  // Targets that collide with numbers in use on the way.
  command.fds.push_back({std::move(a.second), 4});
  command.fds.push_back({std::move(b.second), 3});
  EXPECT_EQ(RunChild({"write=4", "fds"}, std::move(command)).out, "fds 0 1 2 3 4 \n");
  EXPECT_EQ(ReadAll(a.first.get()).value(), "hello");
  EXPECT_EQ(ReadAll(b.first.get()).value(), "");
}

TEST(SpawnerTest, FailuresNameWhatIsMissing) {
  auto start = [](ProcessRequest request) { return TestSpawner().Start(std::move(request)); };
  auto missing = start({.program = "/no/such/program", .argv = {"x"}});
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
  EXPECT_EQ(missing.error().ToString(), "start /no/such/program: No such file or directory");
  EXPECT_EQ(start({.program = "surely-not-there", .argv = {"x"}}).error().code(), Code::kNotFound);
  auto directory = start({.program = "/bin/true", .argv = {"x"}, .cwd = "/no/dir"});
  EXPECT_EQ(directory.error().ToString(),
            "start /bin/true: directory /no/dir: No such file or directory");
  EXPECT_EQ(start({.program = "/etc/passwd", .argv = {"x"}}).error().code(),
            Code::kPermissionDenied);
  EXPECT_EQ(start({.program = std::string("a\0b", 3), .argv = {"x"}}).error().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(start({.program = "/bin/true"}).error().code(), Code::kInvalidArgument);
}

TEST(SpawnerTest, ProgramsAreFoundInThePathOfTheChild) {
  Command command{.program = "sys_child",
                  .args = {"print=found"},
                  .env = {"PATH=/nowhere:" + DirName(ChildProgram())}};
  EXPECT_EQ(RunCommand(TestSpawner(), std::move(command), {})->out, "found\n");
}

TEST(SpawnerTest, LargeEnvironmentsPass) {
  Command command;
  for (int i = 0; i < 50; ++i)
    command.env.push_back(fmt::format("V{}={}", i, std::string(20000, 'x')));
  EXPECT_EQ(RunChild({"env=V49"}, std::move(command)).out.size(), 20001u);
}

TEST(SpawnerTest, ManyThreadsStartAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i)
        good += RunChild({fmt::format("exit={}", t + i)}).status.code == t + i;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 160);
}

TEST(SpawnerTest, CancellingAWaitLeavesTheChild) {
  Child child = TestSpawner().Start({.program = ChildProgram(), .argv = {"child", "wait"}}).value();
  CancelSource source;
  std::thread canceller([&] { source.Cancel(Cancelled("enough")); });
  auto waited = child.Wait(source.token());
  canceller.join();
  EXPECT_EQ(waited.error().ToString(), "enough");
  EXPECT_FALSE(child.exited()->has_value());
  ASSERT_TRUE(child.Signal(SIGTERM).ok());
  EXPECT_EQ(child.Wait({})->signal, SIGTERM);
  EXPECT_TRUE(child.Signal(SIGTERM).ok());
}

TEST(SpawnerTest, DroppedChildrenAreKilled) {
  Fd pidfd;
  {
    Child child = TestSpawner()
                      .Start({.program = ChildProgram(), .argv = {"child", "ignore-term", "wait"}})
                      .value();
    pidfd.Reset(fcntl(child.pidfd(), F_DUPFD_CLOEXEC, 0));
  }
  pollfd ended{pidfd.get(), POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 10000), 1);
}

TEST(CommandTest, CollectsOutputAndFeedsInput) {
  CommandResult both = RunChild({"print=out", "error=err"});
  EXPECT_EQ(both.out, "out\n");
  EXPECT_EQ(both.err, "err\n");
  std::string input(1 << 20, 'i');
  EXPECT_EQ(RunChild({"cat"}, {.input = input}).out, input);
  // Nobody reads it: no harm.
  EXPECT_TRUE(RunChild({"exit=0"}, {.input = input}).status.ok());
}

TEST(CommandTest, KeepsTheEndOfLongOutputAndShowsAll) {
  size_t seen = 0;
  Command command{.max_output_bytes = 1000};
  command.on_output = [&](int stream, std::string_view data) {
    seen += stream == 1 ? data.size() : 0;
  };
  CommandResult result = RunChild({"fill=200000"}, std::move(command));
  EXPECT_EQ(seen, 2000000u);
  EXPECT_EQ(result.out.size(), 1000u);
  EXPECT_TRUE(result.out.ends_with("000000001\n"));
  EXPECT_TRUE(result.truncated);
}

TEST(CommandTest, CancellationKillsWhatDoesNotListen) {
  CancelSource source;
  Command command{.program = ChildProgram(),
                  .args = {"ignore-term", "print=ready", "wait"},
                  .grace = std::chrono::milliseconds(1)};
  command.on_output = [&](int, std::string_view) { source.Cancel(); };
  auto result = RunCommand(TestSpawner(), std::move(command), source.token());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), Code::kCancelled);
}

// The owner (testing/programs/owner.cc) has a spawner of its own with a child and an orphaned
// grandchild; what it leaves behind when told to go that way must be nothing.
void ExpectNothingOutlives(const std::string& way, int owner_signal) {
  auto output = Pipe().value();
  auto input = Pipe().value();
  ProcessRequest request{.program = DirName(ChildProgram()) + "/sys_owner", .argv = {"owner", way}};
  request.fds.push_back({std::move(input.first), 0});
  request.fds.push_back({std::move(output.second), 1});
  Child owner = TestSpawner().Start(std::move(request)).value();
  std::string line;
  for (char c; ReadSome(output.first.get(), &c, 1).value() == 1 && c != '\n';) line += c;
  std::vector<Fd> pidfds;
  for (std::string_view pid : Split(line, ' ')) {
    pidfds.emplace_back(PidfdOpen(static_cast<pid_t>(ParseInt(pid).value())));
    ASSERT_TRUE(pidfds.back().valid()) << line;
  }
  ASSERT_EQ(pidfds.size(), 3u) << line;
  if (owner_signal != 0) {
    ASSERT_TRUE(owner.Signal(owner_signal).ok());
  } else {
    input.second.Reset();
  }
  for (Fd& pidfd : pidfds) {
    pollfd ended{pidfd.get(), POLLIN, 0};
    EXPECT_EQ(poll(&ended, 1, 10000), 1) << way << ": " << line;
  }
  EXPECT_EQ(owner.Wait({})->signal, owner_signal);
}

TEST(SpawnerTest, NothingOutlivesItsOwner) {
  ExpectNothingOutlives("destroy", 0);
  ExpectNothingOutlives("exit", 0);
  ExpectNothingOutlives("killed", SIGKILL);
}

TEST(SpawnerTest, ADeadSpawnerIsReported) {
  CommandResult result =
      RunCommand(TestSpawner(),
                 {.program = DirName(ChildProgram()) + "/sys_owner", .args = {"lose"}}, {})
          .value();
  EXPECT_EQ(result.out,
            "wait: the spawner process has ended\nstart: start /bin/true: the spawner process has "
            "ended\n");
}

}  // namespace
}  // namespace kiln::sys
