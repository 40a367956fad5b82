#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/server.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/result.h"
#include "rpc/acceptor.h"
#include "rpc/address.h"
#include "rpc/limits.h"
#include "rpc/poller.h"
#include "rpc/tls.h"

namespace kiln::rpc {

// A gRPC server that accepts connections itself and hands their sockets to gRPC. That lets us set
// owners and modes of unix sockets, take sockets from systemd, and do TLS without ALPN, which
// buildx does not offer.
class Server {
 public:
  // `pings`: peers that are silent are asked whether they are there, and left if they do not answer
  // for minutes. Not over tunnels, where an answer may wait behind data that nobody takes yet.
  struct Options {
    std::optional<Pings> pings;
  };

  // The services and `poller` outlive the server.
  static Result<std::unique_ptr<Server>> Start(const std::vector<grpc::Service*>& services,
                                               Poller& poller, const Options& options);
  static Result<std::unique_ptr<Server>> Start(const std::vector<grpc::Service*>& services,
                                               Poller& poller) {
    return Start(services, poller, Options());
  }
  // Cancels what is left (see Shutdown) and waits.
  ~Server();

  // Accepts connections on `listener` from now on. `tls` may be null for plaintext.
  void Accept(Fd listener, std::shared_ptr<TlsServer> tls, const AcceptLimits& limits = {})
      EXCLUDES(mutex_);
  // Serves one connected socket.
  Status Adopt(Fd socket) EXCLUDES(mutex_);
  // A channel inside this process.
  Result<std::shared_ptr<grpc::Channel>> InProcessChannel();

  // No further connections; those there are go on. Idempotent.
  void StopAccepting() EXCLUDES(mutex_);
  // Stops accepting; running RPCs have `grace` to end, then they are cancelled. Blocks. Idempotent.
  void Shutdown(std::chrono::milliseconds grace);

 private:
  explicit Server(Poller& poller) : poller_(poller) {}

  Poller& poller_;
  std::unique_ptr<grpc::Server> server_;
  Mutex mutex_;
  bool stopped_ GUARDED_BY(mutex_) = false;
  std::vector<std::shared_ptr<Acceptor>> acceptors_ GUARDED_BY(mutex_);
};

}  // namespace kiln::rpc
