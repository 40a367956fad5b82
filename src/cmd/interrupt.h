#pragma once

#include <signal.h>

#include <functional>
#include <thread>

namespace kiln::cmd {

// Blocks SIGINT, SIGTERM and SIGHUP for this thread and those it starts; call it before any thread
// exists.
void BlockInterrupts();

// Waits for those signals on a thread of its own: `first` is called at the first one, with its
// number; at the second one the process exits with 128 + number. Ends when destroyed.
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
