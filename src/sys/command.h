#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "base/result.h"
#include "sys/spawner.h"

namespace kiln::sys {

// Runs a program to its end with pipes on its output: the one subprocess helper.
struct Command {
  std::string program;            // path or name looked up in PATH of `env`
  std::vector<std::string> args;  // without argv[0]
  std::vector<std::string> env;
  std::string cwd = "/";
  std::string chroot;
  std::vector<ChildFd> fds;  // more descriptors (3 and up)
  std::string input;         // its standard input
  mode_t umask = 022;
  bool new_session = false;  // without a terminal
  bool own_group = true;     // false: with this process's group; what cancels it is `on_cancel`
  // What is kept of each stream; more is dropped from the front (`truncated` tells). Callbacks
  // always see all.
  size_t max_output_bytes = 1 << 20;
  // 1 or 2 and the bytes as they come; called on the thread that called RunCommand.
  std::function<void(int stream, std::string_view)> on_output;
  // On cancellation: SIGTERM to the process group, then SIGKILL after this.
  std::chrono::nanoseconds grace = std::chrono::seconds(10);
  // 0: none. Past it the process is stopped as if cancelled, and the error is DeadlineExceeded.
  std::chrono::nanoseconds timeout{0};
  // Instead of those signals, for programs that stand for something else: called once with `last`
  // false, and after `grace` with true.
  std::function<void(Child&, bool last)> on_cancel;
};

struct CommandResult {
  ExitStatus status;
  std::string out;
  std::string err;
  bool truncated = false;
};

// Blocks. A non-zero exit is a result, not an error; cancellation gives the token's reason after
// the process is gone.
Result<CommandResult> RunCommand(Spawner& spawner, Command command, const CancelToken& cancel);

}  // namespace kiln::sys
