#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <unordered_map>

#include "base/fd.h"
#include "base/mutex.h"

namespace kiln::rpc {

// One thread that waits on many descriptors. Serves accept loops and the byte pipes of tunnels and
// TLS connections, so that none of them needs a thread of its own. Callbacks run on the poller
// thread and must not block.
class Poller {
 public:
  using Callback = std::function<void(uint32_t events)>;
  using Id = uint64_t;

  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Registers `fd` (which the caller keeps open until Remove) with nothing armed.
  Id Add(int fd, Callback callback) EXCLUDES(mutex_);
  // Asks for one callback when any of the epoll `events` is there. Replaces what was armed before.
  // A hang-up or error is reported as well, whatever was asked for.
  void Arm(Id id, int fd, uint32_t events);
  // No callback of `id` starts after this returns; one may still be running on the poller thread.
  void Remove(Id id, int fd) EXCLUDES(mutex_);
  // As Remove, and waits for the callback that may be running. The caller holds nothing that the
  // callback waits for, and is not that callback.
  void RemoveAndWait(Id id, int fd) EXCLUDES(mutex_);
  // Calls back once after `delay`; never if the poller ends before. There is no way to take it
  // back: what may be gone by then is held weakly.
  void After(std::chrono::nanoseconds delay, std::function<void()> callback) EXCLUDES(mutex_);

 private:
  using Clock = std::chrono::steady_clock;

  void Run() EXCLUDES(mutex_);
  void RunEvent(Id id, uint32_t events) EXCLUDES(mutex_);
  void RunTimers() EXCLUDES(mutex_);
  // In milliseconds, as epoll_wait takes it: until the next timer, or -1.
  int WaitTime() EXCLUDES(mutex_);
  void Wake();

  const Fd epoll_;
  const Fd wake_;
  Mutex mutex_;
  CondVar ended_;  // of the callback that was running
  bool stopping_ GUARDED_BY(mutex_) = false;
  Id next_id_ GUARDED_BY(mutex_) = 1;
  Id running_ GUARDED_BY(mutex_) = 0;  // whose callback runs now; 0 for none
  std::unordered_map<Id, std::shared_ptr<Callback>> callbacks_ GUARDED_BY(mutex_);
  std::multimap<Clock::time_point, std::function<void()>> timers_ GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace kiln::rpc
