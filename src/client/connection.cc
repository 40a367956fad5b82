#include "client/connection.h"

#include <fcntl.h>
#include <grpcpp/channel.h>

#include "rpc/address.h"
#include "rpc/poller.h"
#include "rpc/tls_connection.h"
#include "rpc/tunnel.h"

namespace kiln::client {

Result<Connection> Connection::Connect(const std::string& address,
                                       const std::optional<DaemonTls>& tls) {
  TRY_ASSIGN(const rpc::Address parsed, rpc::Address::Parse(address));
  if (tls && parsed.kind != rpc::Address::Kind::kTcp) {
    return InvalidArgument("TLS is for daemons at tcp addresses, and {} is none", address);
  }
  std::shared_ptr<const rpc::TlsContext> context;
  if (tls) {
    TRY_ASSIGN(context, rpc::TlsContext::LoadClient(tls->files));
  }
  TRY_ASSIGN(Fd socket, rpc::ConnectTo(parsed));
  std::shared_ptr<rpc::Poller> poller;
  if (tls) {
    poller = std::make_shared<rpc::Poller>();
    const std::string& name = tls->server_name.empty() ? parsed.host : tls->server_name;
    TRY_ASSIGN_CTX(socket, rpc::ConnectTls(*poller, context, std::move(socket), name), "{}",
                   address);
  }
  if (fcntl(socket.get(), F_SETFL, O_NONBLOCK) != 0) return ErrnoError(errno, "{}", address);
  return Connection(std::move(poller), rpc::ChannelOverSocket(std::move(socket)), nullptr);
}

Connection Connection::InProcess(std::shared_ptr<grpc::Channel> channel, ShareTrees share_trees) {
  return {nullptr, std::move(channel), std::move(share_trees)};
}

}  // namespace kiln::client
