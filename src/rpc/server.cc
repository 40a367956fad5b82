#include "rpc/server.h"

#include <fcntl.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/check.h"
#include "base/log.h"
#include "rpc/library.h"
#include "rpc/limits.h"
#include "rpc/tunnel.h"

namespace kiln::rpc {

Result<std::unique_ptr<Server>> Server::Start(const std::vector<grpc::Service*>& services,
                                              Poller& poller) {
  std::unique_ptr<Server> server(new Server(poller));
  KeepLibrary();
  grpc::ServerBuilder builder;
  ApplyLimits(&builder);
  for (grpc::Service* service : services) builder.RegisterService(service);
  server->server_ = builder.BuildAndStart();
  if (!server->server_) return Internal("gRPC refused to start the server");
  return server;
}

Server::~Server() { Shutdown(std::chrono::milliseconds(0)); }

void Server::Accept(Fd socket, std::shared_ptr<const TlsContext> tls) {
  auto listener = std::make_unique<Listener>();
  listener->socket = std::move(socket);
  listener->tls = std::move(tls);
  Listener* raw = listener.get();
  std::lock_guard lock(mu_);
  CHECK(!stopped_);
  raw->id = poller_.Add(raw->socket.get(), [this, raw](uint32_t) { OnReadable(raw); });
  poller_.Arm(raw->id, raw->socket.get(), EPOLLIN);
  listeners_.push_back(std::move(listener));
}

void Server::OnReadable(Listener* listener) {
  std::lock_guard lock(mu_);
  if (stopped_) return;
  while (true) {
    Fd socket(accept4(listener->socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK)
        LOG_WARNING("accept: {}", ErrnoError(errno, "accept4"));
      break;
    }
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (listener->tls) {
      Result<Fd> plain = AcceptTls(poller_, *listener->tls, std::move(socket));
      if (!plain.ok()) {
        LOG_WARNING("{}", plain.error());
        continue;
      }
      socket = *std::move(plain);
    }
    grpc::AddInsecureChannelFromFd(server_.get(), socket.Release());
  }
  poller_.Arm(listener->id, listener->socket.get(), EPOLLIN);
}

Status Server::Adopt(Fd socket) {
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return ErrnoError(errno, "making a socket non-blocking");
  }
  std::lock_guard lock(mu_);
  if (stopped_) return Unavailable("the server is shutting down");
  grpc::AddInsecureChannelFromFd(server_.get(), socket.Release());
  return OkStatus();
}

// Over a socketpair and not gRPC's own in-process transport, which now and then (gRPC 1.51) never
// completes a read that is pending when a streaming call is finished.
Result<std::shared_ptr<grpc::Channel>> Server::InProcessChannel() {
  TRY_ASSIGN(auto ends, SocketPair());
  TRY(Adopt(std::move(ends.second)));
  const int flags = fcntl(ends.first.get(), F_GETFL);
  if (flags < 0 || fcntl(ends.first.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return ErrnoError(errno, "making a socket non-blocking");
  }
  return ChannelOverSocket(std::move(ends.first));
}

void Server::StopAccepting() {
  std::vector<std::unique_ptr<Listener>> listeners;
  {
    std::lock_guard lock(mu_);
    stopped_ = true;
    listeners.swap(listeners_);
  }
  // Not under the lock: a callback that has begun takes it, and looks at its listener and at this.
  for (const auto& listener : listeners) {
    poller_.RemoveAndWait(listener->id, listener->socket.get());
  }
}

void Server::Shutdown(std::chrono::milliseconds grace) {
  StopAccepting();
  if (server_) server_->Shutdown(std::chrono::system_clock::now() + grace);
}

}  // namespace kiln::rpc
