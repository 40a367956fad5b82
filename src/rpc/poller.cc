#include "rpc/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/check.h"
#include "base/thread.h"

namespace kiln::rpc {
namespace {

constexpr Poller::Id kWakeId = 0;

}  // namespace

Poller::Poller()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(epoll_.get() >= 0 && wake_.get() >= 0);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeId;
  CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) == 0);
  thread_ = AwaitThread("kiln-poller", [this] { Run(); });
}

Poller::~Poller() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  Wake();
  thread_.join();
}

void Poller::Wake() {
  const uint64_t one = 1;
  CHECK(write(wake_.get(), &one, sizeof one) == sizeof one);
}

Poller::Id Poller::Add(int fd, Callback callback) {
  MutexLock lock(mutex_);
  const Id id = next_id_++;
  callbacks_.emplace(id, std::make_shared<Callback>(std::move(callback)));
  epoll_event event{};
  event.events = EPOLLONESHOT;
  event.data.u64 = id;
  // A fresh descriptor of a kind epoll knows: failing means a broken caller or exhausted kernel
  // memory; the hang-up is then never seen, so say so loudly.
  CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  // ADD with no events reports EPOLLHUP at once for some sockets; disarm until asked.
  return id;
}

void Poller::Arm(Id id, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events | EPOLLONESHOT;
  event.data.u64 = id;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Poller::Remove(Id id, int fd) {
  std::shared_ptr<Callback> callback;  // goes without the lock: who knows what it owns
  MutexLock lock(mutex_);
  if (const auto it = callbacks_.find(id); it != callbacks_.end()) {
    callback = std::move(it->second);
    callbacks_.erase(it);
  }
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Poller::RemoveAndWait(Id id, int fd) {
  Remove(id, fd);
  MutexLock lock(mutex_);
  while (running_ == id) ended_.Wait(lock);
}

void Poller::After(std::chrono::nanoseconds delay, std::function<void()> callback) {
  {
    MutexLock lock(mutex_);
    timers_.emplace(Clock::now() + delay, std::move(callback));
  }
  Wake();
}

int Poller::WaitTime() {
  MutexLock lock(mutex_);
  if (timers_.empty()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first - Clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000));
}

void Poller::RunTimers() {
  while (true) {
    std::function<void()> due;
    {
      MutexLock lock(mutex_);
      if (stopping_ || timers_.empty() || timers_.begin()->first > Clock::now()) return;
      due = std::move(timers_.extract(timers_.begin()).mapped());
    }
    due();
  }
}

void Poller::RunEvent(Id id, uint32_t events) {
  std::shared_ptr<Callback> callback;
  {
    MutexLock lock(mutex_);
    const auto it = callbacks_.find(id);
    if (stopping_ || it == callbacks_.end()) return;
    callback = it->second;
    running_ = id;
  }
  (*callback)(events);
  callback.reset();  // what it owns may take this poller's lock
  {
    MutexLock lock(mutex_);
    running_ = 0;
  }
  ended_.NotifyAll();
}

void Poller::Run() {
  std::array<epoll_event, 64> events{};
  while (true) {
    const int n = epoll_wait(epoll_.get(), events.data(), events.size(), WaitTime());
    if (n < 0 && errno == EINTR) continue;
    CHECK(n >= 0);
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
    }
    RunTimers();
    for (int i = 0; i < n; ++i) {
      const Id id = events[i].data.u64;  // a copy: epoll_event is packed
      if (id != kWakeId) {
        RunEvent(id, events[i].events);
        continue;
      }
      uint64_t count = 0;
      (void)!read(wake_.get(), &count, sizeof count);
    }
  }
}

}  // namespace kiln::rpc
