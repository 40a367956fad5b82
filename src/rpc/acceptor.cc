#include "rpc/acceptor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "base/log.h"
#include "base/strings.h"
#include "rpc/address.h"
#include "rpc/tls_connection.h"

namespace kiln::rpc {
namespace {

constexpr auto kBetweenComplaints = std::chrono::seconds(30);
constexpr auto kBetweenLooks = std::chrono::seconds(1);

// What concerns one connection, which is gone; the next may be good (accept(2)).
bool IsOfThePeer(int error) {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ETIMEDOUT:
      return true;
    default:
      return false;
  }
}

uint64_t NumberOf(const Fd& socket) {
  struct stat info{};
  return fstat(socket.get(), &info) == 0 ? info.st_ino : 0;
}

}  // namespace

std::shared_ptr<Acceptor> Acceptor::Start(Poller& poller, Fd listener,
                                          std::shared_ptr<TlsServer> tls, Serve serve,
                                          const AcceptLimits& limits) {
  std::shared_ptr<Acceptor> acceptor(
      new Acceptor(poller, std::move(listener), std::move(tls), std::move(serve), limits));
  {
    MutexLock lock(acceptor->mutex_);
    acceptor->id_ =
        poller.Add(acceptor->listener_.get(), [weak = std::weak_ptr(acceptor)](uint32_t) {
          if (const auto self = weak.lock()) self->OnReadable();
        });
  }
  acceptor->Arm();
  return acceptor;
}

void Acceptor::Stop() {
  Poller::Id id = 0;
  {
    MutexLock lock(mutex_);
    if (std::exchange(stopped_, true)) return;
    id = id_;
  }
  // Not under the lock: a callback that has begun takes it.
  poller_.RemoveAndWait(id, listener_.get());
}

void Acceptor::Arm() {
  MutexLock lock(mutex_);
  if (!stopped_) poller_.Arm(id_, listener_.get(), EPOLLIN);
}

void Acceptor::OnReadable() {
  while (true) {
    Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      Take(std::move(socket));
      continue;
    }
    if (IsOfThePeer(errno)) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) break;
    Pause(errno);
    return;
  }
  Arm();
}

// The connection waits in the kernel, and the socket stays readable: asking for that at once would
// turn in a circle until there are descriptors again.
void Acceptor::Pause(int error) {
  Complain(ErrnoError(error, "taking a connection").ToString());
  poller_.After(limits_.pause, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Arm();
  });
}

void Acceptor::Take(Fd socket) {
  if (!Admit(socket)) {
    Complain(fmt::format("{} connections are open, more are closed at once", limits_.connections));
    return;
  }
  const int on = 1;
  setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  KeepAlive(socket);
  if (!tls_) {
    serve_(std::move(socket));
    return;
  }
  Result<Fd> plain = AcceptTls(poller_, tls_->Current(), std::move(socket));
  if (!plain.ok()) {
    Complain(plain.error().ToString());
    return;
  }
  serve_(*std::move(plain));
}

bool Acceptor::Admit(const Fd& socket) {
  const auto now = std::chrono::steady_clock::now();
  if (connections_.size() >= limits_.connections && now >= next_look_) {
    next_look_ = now + kBetweenLooks;
    ForgetClosed();
  }
  if (connections_.size() >= limits_.connections) return false;
  connections_.insert(NumberOf(socket));
  return true;
}

void Acceptor::ForgetClosed() {
  std::unordered_set<uint64_t> open;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (!target.starts_with("socket:[")) continue;
    const auto number = ParseUint(std::string_view(target).substr(8, target.size() - 9));
    if (number && connections_.contains(*number)) open.insert(*number);
  }
  if (!error) connections_ = std::move(open);
}

void Acceptor::Complain(const std::string& what) {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_complaint_) {
    ++unsaid_;
    return;
  }
  next_complaint_ = now + kBetweenComplaints;
  const uint64_t unsaid = std::exchange(unsaid_, 0);
  if (unsaid == 0) {
    LOG_WARNING("{}", what);
  } else {
    LOG_WARNING("{} ({} more of the like)", what, unsaid);
  }
}

}  // namespace kiln::rpc
