#include "rpc/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/check.h"

namespace kiln::rpc {

Poller::Poller()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(epoll_.get() >= 0 && wake_.get() >= 0);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) == 0);
  thread_ = std::thread([this] { Run(); });
}

Poller::~Poller() {
  {
    std::lock_guard lock(mu_);
    stopping_ = true;
  }
  const uint64_t one = 1;
  CHECK(write(wake_.get(), &one, sizeof one) == sizeof one);
  thread_.join();
}

Poller::Id Poller::Add(int fd, Callback callback) {
  std::lock_guard lock(mu_);
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
  std::lock_guard lock(mu_);
  callbacks_.erase(id);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Poller::RemoveAndWait(Id id, int fd) {
  Remove(id, fd);
  std::unique_lock lock(mu_);
  ended_.wait(lock, [&] { return running_ != id; });
}

void Poller::Run() {
  std::array<epoll_event, 64> events{};
  while (true) {
    const int n = epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    if (n < 0 && errno == EINTR) continue;
    CHECK(n >= 0);
    for (int i = 0; i < n; ++i) {
      std::shared_ptr<Callback> callback;
      {
        std::lock_guard lock(mu_);
        if (stopping_) return;
        const Id id = events[i].data.u64;  // a copy: epoll_event is packed
        const auto it = callbacks_.find(id);
        if (it == callbacks_.end()) continue;
        callback = it->second;
        running_ = id;
      }
      (*callback)(events[i].events);
      callback.reset();  // what it owns may take this poller's lock
      {
        std::lock_guard lock(mu_);
        running_ = 0;
      }
      ended_.notify_all();
    }
  }
}

}  // namespace kiln::rpc
