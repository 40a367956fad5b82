#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/fd.h"
#include "base/result.h"

namespace kiln::sys {

// How a process ended.
struct ExitStatus {
  int code = 0;    // of exit(); meaningless when `signal` is set
  int signal = 0;  // that killed it, or 0
  bool ok() const { return code == 0 && signal == 0; }
  // "exit code 3", "killed by signal 9 (Killed)".
  std::string ToString() const;
  bool operator==(const ExitStatus&) const = default;
};

// One descriptor of the child: `fd` becomes number `target` there.
struct ChildFd {
  Fd fd;
  int target = 0;
};

// What to start. Descriptors move to the child; ours are closed once it runs. Targets 0, 1 and 2
// that are not named are /dev/null; nothing else is open in the child. Signals are reset and
// unblocked.
struct ProcessRequest {
  std::string program;            // a path, or a name looked up in the PATH of `env`
  std::vector<std::string> argv;  // with argv[0]
  std::vector<std::string> env;   // whole environment, NAME=value
  std::string cwd = "/";
  std::string chroot;  // root directory before cwd applies; empty: ours
  std::vector<ChildFd> fds;
  mode_t umask = 022;
  bool new_session = false;    // setsid
  bool own_group = true;       // leads a process group of its own (implied by new_session)
  int death_signal = SIGKILL;  // when the spawner ends, whatever way; 0: none
  Fd cgroup;                   // open cgroup v2 directory to be born in; invalid: ours
};

class Child;

// Starts processes from a single-threaded process of its own, forked by StartEarly() (or
// MainEarly()) before this one had threads. Safe from any thread. Children live as long as their
// end or the spawner's: when this process ends, however, all of them are killed.
class Spawner {
 public:
  // Forks. The calling process must have one thread only.
  static Result<std::unique_ptr<Spawner>> StartEarly();
  // Closes our end and waits until the spawner has killed and reaped everything.
  ~Spawner();
  Spawner(const Spawner&) = delete;
  Spawner& operator=(const Spawner&) = delete;

  // Returns when the program runs (exec succeeded). NotFound/PermissionDenied… name program or
  // directory when it could not.
  Result<Child> Start(ProcessRequest request);
  pid_t pid() const;

 private:
  friend class Child;
  struct Impl;
  explicit Spawner(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// A started process. Destroying it kills its group if it still runs (it is reaped in any case).
class Child {
 public:
  struct State;
  explicit Child(std::shared_ptr<State> state);
  Child(Child&&) noexcept = default;
  Child& operator=(Child&&) noexcept;
  ~Child();

  pid_t pid() const;
  // Becomes readable when the process ends (then `exited` soon tells).
  int pidfd() const;
  // Blocks until the end. With a cancelled token: returns its reason; the process goes on.
  Result<ExitStatus> Wait(const CancelToken& cancel) const;
  // Blocks until the end or `timeout`; nullopt on timeout.
  Result<std::optional<ExitStatus>> WaitFor(std::chrono::nanoseconds timeout) const;
  // nullopt while it runs. Unavailable if the spawner died.
  Result<std::optional<ExitStatus>> exited() const;
  // Called once, at the end, from the spawner's reader thread (or at once when already over): must
  // not block.
  void OnExit(std::function<void(Result<ExitStatus>)> callback) const;
  // To the process. Success if it has ended.
  Status Signal(int signal) const;
  // To its whole process group, as long as the leader has not been reaped.
  Status SignalGroup(int signal) const;
  // Lets it run on without owner.
  void Detach();

 private:
  std::shared_ptr<State> state_;
};

}  // namespace kiln::sys
