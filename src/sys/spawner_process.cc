// The spawner process: one thread, no locks, nothing of the daemon but this file. It may do what
// the daemon must not: fork, and wait for any child.
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <map>

#include "base/strings.h"
#include "sys/spawner_wire.h"

namespace kiln::sys {
namespace {

struct Failure {
  StartStage stage = StartStage::kNone;
  int32_t error_number = 0;
};

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// The files to try, as execvp finds them, but with the PATH of the child.
std::vector<std::string> Candidates(const StartPayload& payload) {
  if (payload.program.find('/') != std::string::npos) return {payload.program};
  std::string_view path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const std::string& variable : payload.env) {
    if (variable.starts_with("PATH=")) path = std::string_view(variable).substr(5);
  }
  std::vector<std::string> files;
  for (std::string_view directory : Split(path, ':')) {
    files.push_back(fmt::format("{}/{}", directory.empty() ? "." : directory, payload.program));
  }
  return files;
}

// The child's part, between fork and exec. Everything it needs was prepared before.
class ChildSetup {
 public:
  ChildSetup(StartPayload& payload, std::vector<Fd>& fds, int report)
      : payload_(payload),
        fds_(fds),
        report_(report),
        argv_(Pointers(payload.argv)),
        env_(Pointers(payload.env)),
        candidates_(Candidates(payload)) {}

  [[noreturn]] void Run(pid_t spawner) {
    ResetSignals();
    if (payload_.new_session) {
      if (setsid() < 0) Fail(StartStage::kSession);
    } else if (payload_.own_group) {
      if (setpgid(0, 0) != 0) Fail(StartStage::kSession);
    }
    if (payload_.death_signal != 0) {
      prctl(PR_SET_PDEATHSIG, payload_.death_signal);
      if (getppid() != spawner) _exit(127);  // it died before we asked
    }
    umask(payload_.umask);
    PlaceDescriptors();
    if (!payload_.chroot.empty() && (chroot(payload_.chroot.c_str()) != 0 || chdir("/") != 0))
      Fail(StartStage::kChroot);
    if (chdir(payload_.cwd.c_str()) != 0) Fail(StartStage::kDirectory);
    Exec();
  }

 private:
  static void ResetSignals() {
    struct sigaction action{};
    action.sa_handler = SIG_DFL;
    for (int signal = 1; signal < NSIG; ++signal) sigaction(signal, &action, nullptr);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
  }

  // First everything out of the way of all targets, then each to its place.
  void PlaceDescriptors() {
    int beyond = 3;
    for (int32_t target : payload_.targets) beyond = std::max(beyond, target + 1);
    report_ = Above(report_, beyond);
    bool have[3] = {false, false, false};
    for (size_t i = 0; i < payload_.targets.size(); ++i)
      fds_[i] = Fd(Above(fds_[i].Release(), beyond));
    for (size_t i = 0; i < payload_.targets.size(); ++i) {
      int32_t target = payload_.targets[i];
      if (dup2(fds_[i].get(), target) < 0) Fail(StartStage::kDescriptors);
      if (target < 3) have[target] = true;
    }
    for (int standard = 0; standard < 3; ++standard) {
      if (have[standard]) continue;
      int null = open("/dev/null", O_RDWR | O_CLOEXEC);
      if (null < 0) Fail(StartStage::kDescriptors);
      if (null != standard && dup2(null, standard) < 0) Fail(StartStage::kDescriptors);
      if (null == standard) fcntl(standard, F_SETFD, 0);
    }
    // All else closes at exec. What stands below `beyond` and is no target was never ours to pass.
    std::vector<bool> wanted(static_cast<size_t>(beyond), false);
    for (int32_t target : payload_.targets) wanted[static_cast<size_t>(target)] = true;
    for (int fd = 3; fd < beyond; ++fd) {
      if (!wanted[static_cast<size_t>(fd)]) fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    if (close_range(static_cast<unsigned>(beyond), ~0u, CLOSE_RANGE_CLOEXEC) != 0)
      Fail(StartStage::kDescriptors);
  }

  int Above(int fd, int lowest) {
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, lowest);
    if (moved < 0) Fail(StartStage::kDescriptors);
    return moved;
  }

  [[noreturn]] void Exec() {
    int reason = ENOENT;
    for (const std::string& file : candidates_) {
      execve(file.c_str(), argv_.data(), env_.data());
      if (errno == EACCES) reason = EACCES;  // go on looking, but remember
      if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) {
        reason = errno;
        break;
      }
    }
    errno = reason;
    Fail(StartStage::kExec);
  }

  [[noreturn]] void Fail(StartStage stage) {
    Failure failure{stage, errno};
    (void)!write(report_, &failure, sizeof failure);
    _exit(127);
  }

  StartPayload& payload_;
  std::vector<Fd>& fds_;
  int report_;
  std::vector<char*> argv_;
  std::vector<char*> env_;
  std::vector<std::string> candidates_;
};

class SpawnerProcess {
 public:
  explicit SpawnerProcess(int socket) : socket_(socket) {}

  void Serve() {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, nullptr);
    Fd signals(signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
    for (;;) {
      pollfd polls[2] = {{socket_, POLLIN, 0}, {signals.get(), POLLIN, 0}};
      if (poll(polls, 2, -1) < 0 && errno != EINTR) break;
      if (polls[1].revents != 0) {
        signalfd_siginfo info;
        while (read(signals.get(), &info, sizeof info) > 0) {
        }
        Reap();
      }
      if (polls[0].revents != 0 && !HandlePacket()) break;
    }
    EndEverything();
  }

 private:
  // False: the other end is gone.
  bool HandlePacket() {
    RequestPacket packet;
    std::vector<Fd> fds;
    ssize_t got = ReceivePacket(socket_, &packet, sizeof packet, fds);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
    if (got != sizeof packet) return true;
    if (packet.kind == RequestKind::kSignalGroup) {
      auto found = pid_of_.find(packet.id);  // not reaped yet, so the number is still this group's
      if (found != pid_of_.end()) kill(-found->second, packet.signal);
      return true;
    }
    Start(packet.id, std::move(fds));
    return true;
  }

  void Start(uint64_t id, std::vector<Fd> fds) {
    ReplyPacket reply{.id = id,
                      .kind = ReplyKind::kFailed,
                      .stage = StartStage::kRequest,
                      .error_number = EINVAL};
    Fd pidfd;
    auto payload = ReadPayload(fds);
    if (payload.ok()) {
      fds.erase(fds.begin());
      Failure failure = Fork(*payload, fds, reply.pid, pidfd);
      reply.stage = failure.stage;
      reply.error_number = failure.error_number;
      if (failure.stage == StartStage::kNone) {
        reply.kind = ReplyKind::kStarted;
        pid_of_[id] = reply.pid;
        id_of_[reply.pid] = id;
      }
    }
    fds.clear();  // before the answer: who waits for the end of a pipe must not wait for us
    SendPacket(socket_, &reply, sizeof reply,
               pidfd.valid() ? std::vector<int>{pidfd.get()} : std::vector<int>{});
  }

  static Result<StartPayload> ReadPayload(const std::vector<Fd>& fds) {
    if (fds.empty()) return Internal("no payload");
    lseek(fds[0].get(), 0, SEEK_SET);
    TRY_ASSIGN(std::string bytes, ReadAll(fds[0].get()));
    TRY_ASSIGN(StartPayload payload, Decode(bytes));
    if (fds.size() != 1 + payload.targets.size() + payload.has_cgroup)
      return Internal("descriptors are missing");
    return payload;
  }

  static Failure Fork(StartPayload& payload, std::vector<Fd>& fds, int32_t& pid, Fd& pidfd) {
    auto report = Pipe();
    if (!report.ok()) return {StartStage::kProcess, errno};
    ChildSetup setup(payload, fds, report->second.get());
    int raw_pidfd = -1;
    clone_args arguments{};
    arguments.flags =
        CLONE_PIDFD | CLONE_VFORK;  // vfork: we go on once the child has exec'ed or failed
    arguments.pidfd = reinterpret_cast<uint64_t>(&raw_pidfd);
    arguments.exit_signal = SIGCHLD;
    if (payload.has_cgroup) {
      arguments.flags |= CLONE_INTO_CGROUP;
      arguments.cgroup = static_cast<uint64_t>(fds.back().get());
    }
    pid_t self = getpid();
    long child = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0) setup.Run(self);
    if (child < 0) return {StartStage::kProcess, errno};
    pidfd.Reset(raw_pidfd);
    pid = static_cast<int32_t>(child);
    report->second.Reset();
    Failure failure;
    ssize_t got = read(report->first.get(), &failure, sizeof failure);
    if (got != sizeof failure) return {};
    int status;
    waitpid(pid, &status, 0);
    pidfd.Reset();
    return failure;
  }

  void Reap() {
    for (;;) {
      int status;
      pid_t pid = waitpid(-1, &status, WNOHANG);
      if (pid <= 0) return;
      auto found = id_of_.find(pid);
      if (found == id_of_.end()) continue;  // an orphan of one of ours
      ReplyPacket reply{.id = found->second, .kind = ReplyKind::kExited, .pid = pid};
      if (WIFEXITED(status)) reply.exit_code = WEXITSTATUS(status);
      if (WIFSIGNALED(status)) reply.exit_signal = WTERMSIG(status);
      pid_of_.erase(found->second);
      id_of_.erase(found);
      SendPacket(socket_, &reply, sizeof reply, {});
    }
  }

  // Kills our children, and again those that come to us when they die, until none is left.
  void EndEverything() {
    for (;;) {
      for (const auto& [id, pid] : pid_of_) kill(-pid, SIGKILL);
      std::string path = fmt::format("/proc/self/task/{}/children", getpid());
      if (auto children = ReadFile(path); children.ok()) {
        for (std::string_view child : Split(*children, ' ')) {
          if (auto pid = ParseUint(Trim(child)); pid && *pid > 1)
            kill(static_cast<pid_t>(*pid), SIGKILL);
        }
      }
      int status;
      pid_t pid = waitpid(-1, &status, 0);
      if (pid < 0 && errno != EINTR) return;
      if (auto found = id_of_.find(pid); found != id_of_.end()) {
        pid_of_.erase(found->second);
        id_of_.erase(found);
      }
    }
  }

  const int socket_;
  std::map<uint64_t, pid_t> pid_of_;
  std::map<pid_t, uint64_t> id_of_;
};

}  // namespace

void RunSpawnerProcess(int socket) {
  prctl(PR_SET_NAME, "kiln-spawner");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  // An interrupt at the terminal is for the daemon, which then ends us in order.
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) std::signal(signal, SIG_IGN);
  constexpr int kSocket = 3;
  if (socket != kSocket && dup3(socket, kSocket, O_CLOEXEC) < 0) _exit(1);
  close_range(kSocket + 1, ~0u, 0);
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int standard = 0; standard < 3; ++standard) dup2(null, standard);
  SpawnerProcess(kSocket).Serve();
  _exit(0);
}

}  // namespace kiln::sys
