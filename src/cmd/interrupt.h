#pragma once

#include <signal.h>

#include <functional>
#include <thread>

namespace kiln::cmd {

// Blocks SIGINT, SIGTERM and SIGHUP for this thread and those it starts; call it before any thread
// exists. From then on they do nothing until somebody asks for them with one of what follows:
// whatever a user may have to wait for does.
void BlockInterrupts();

// While this lives, they end the process as if nobody had blocked them: for the time before
// anything is begun, such as reading an answer or a Dockerfile from standard input. For the thread
// that called BlockInterrupts.
class InterruptsEndProcess {
 public:
  InterruptsEndProcess();
  ~InterruptsEndProcess();
  InterruptsEndProcess(const InterruptsEndProcess&) = delete;
  InterruptsEndProcess& operator=(const InterruptsEndProcess&) = delete;
};

// Waits for them on a thread of its own: `first` is called at the first one, with its number; at
// the second one the process exits with 128 + number. Ends when destroyed.
class InterruptWatcher {
 public:
  explicit InterruptWatcher(std::function<void(int)> first);
  ~InterruptWatcher();
  InterruptWatcher(const InterruptWatcher&) = delete;
  InterruptWatcher& operator=(const InterruptWatcher&) = delete;

 private:
  int wake_ = -1;  // eventfd that ends the thread
  std::thread thread_;
};

}  // namespace kiln::cmd
