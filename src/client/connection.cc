#include "client/connection.h"

#include <fcntl.h>
#include <grpcpp/channel.h>

#include "rpc/address.h"
#include "rpc/tunnel.h"

namespace kiln::client {

Result<Connection> Connection::Connect(const std::string& address) {
  TRY_ASSIGN(const rpc::Address parsed, rpc::Address::Parse(address));
  TRY_ASSIGN(Fd socket, rpc::ConnectTo(parsed));
  if (fcntl(socket.get(), F_SETFL, O_NONBLOCK) != 0) return ErrnoError(errno, "{}", address);
  return Connection(rpc::ChannelOverSocket(std::move(socket)), nullptr);
}

Connection Connection::InProcess(std::shared_ptr<grpc::Channel> channel, ShareTrees share_trees) {
  return {std::move(channel), std::move(share_trees)};
}

}  // namespace kiln::client
