#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/server.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "rpc/address.h"
#include "rpc/poller.h"
#include "rpc/tls.h"

namespace kiln::rpc {

// A gRPC server that accepts connections itself and hands their sockets to gRPC. That lets us set
// owners and modes of unix sockets, take sockets from systemd, and do TLS without ALPN, which
// buildx does not offer.
class Server {
 public:
  // The services and `poller` outlive the server.
  static Result<std::unique_ptr<Server>> Start(const std::vector<grpc::Service*>& services,
                                               Poller& poller);
  // Cancels what is left (see Shutdown) and waits.
  ~Server();

  // Accepts connections on `listener` from now on. `tls` may be null for plaintext.
  void Accept(Fd listener, std::shared_ptr<const TlsContext> tls);
  // Serves one connected socket.
  Status Adopt(Fd socket);
  // A channel inside this process.
  Result<std::shared_ptr<grpc::Channel>> InProcessChannel();

  // No further connections; those there are go on. Idempotent.
  void StopAccepting();
  // Stops accepting; running RPCs have `grace` to end, then they are cancelled. Blocks. Idempotent.
  void Shutdown(std::chrono::milliseconds grace);

 private:
  struct Listener {
    Fd socket;
    std::shared_ptr<const TlsContext> tls;
    Poller::Id id = 0;
  };

  Server(Poller& poller) : poller_(poller) {}
  void OnReadable(Listener* listener);

  Poller& poller_;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mu_;
  bool stopped_ = false;
  std::vector<std::unique_ptr<Listener>> listeners_;
};

}  // namespace kiln::rpc
