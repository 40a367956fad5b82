#include "rpc/server.h"

#include <fcntl.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>

#include <cerrno>

#include "base/check.h"
#include "rpc/library.h"
#include "rpc/tunnel.h"

namespace kiln::rpc {

Result<std::unique_ptr<Server>> Server::Start(const std::vector<grpc::Service*>& services,
                                              Poller& poller, const Options& options) {
  std::unique_ptr<Server> server(new Server(poller));
  KeepLibrary();
  grpc::ServerBuilder builder;
  ApplyLimits(&builder);
  if (options.pings) ApplyPings(*options.pings, &builder);
  for (grpc::Service* service : services) builder.RegisterService(service);
  server->server_ = builder.BuildAndStart();
  if (!server->server_) return Internal("gRPC refused to start the server");
  return server;
}

Server::~Server() { Shutdown(std::chrono::milliseconds(0)); }

void Server::Accept(Fd listener, std::shared_ptr<TlsServer> tls, const AcceptLimits& limits) {
  MutexLock lock(mutex_);
  CHECK(!stopped_);
  acceptors_.push_back(Acceptor::Start(
      poller_, std::move(listener), std::move(tls),
      [this](Fd socket) { grpc::AddInsecureChannelFromFd(server_.get(), socket.Release()); },
      limits));
}

Status Server::Adopt(Fd socket) {
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return ErrnoError(errno, "making a socket non-blocking");
  }
  MutexLock lock(mutex_);
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
  std::vector<std::shared_ptr<Acceptor>> acceptors;
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    acceptors.swap(acceptors_);
  }
  for (const auto& acceptor : acceptors) acceptor->Stop();
}

void Server::Shutdown(std::chrono::milliseconds grace) {
  StopAccepting();
  if (server_) server_->Shutdown(std::chrono::system_clock::now() + grace);
}

}  // namespace kiln::rpc
