#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/fd.h"

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
  Id Add(int fd, Callback callback);
  // Asks for one callback when any of the epoll `events` is there. Replaces what was armed before.
  // A hang-up or error is reported as well, whatever was asked for.
  void Arm(Id id, int fd, uint32_t events);
  // No callback of `id` starts after this returns; one may still be running on the poller thread.
  void Remove(Id id, int fd);
  // As Remove, and waits for the callback that may be running. The caller holds nothing that the
  // callback waits for, and is not that callback.
  void RemoveAndWait(Id id, int fd);

 private:
  void Run();

  Fd epoll_;
  Fd wake_;
  std::mutex mu_;
  std::condition_variable ended_;  // of the callback that was running
  bool stopping_ = false;
  Id next_id_ = 1;
  Id running_ = 0;  // whose callback runs now; 0 for none
  std::unordered_map<Id, std::shared_ptr<Callback>> callbacks_;
  std::thread thread_;
};

}  // namespace kiln::rpc
