#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "rpc/tls.h"

namespace grpc {
class Channel;
}
namespace kiln::filesync {
class TreeSource;
}
namespace kiln::rpc {
class Poller;
}

namespace kiln::client {

// How a daemon at a tcp address is to show who it is, and we to it.
struct DaemonTls {
  rpc::TlsFiles files;
  std::string server_name;  // in its certificate; empty: the host of the address
};

// A way to a daemon. A value; copies share the channel.
class Connection {
 public:
  // "unix://…" or "tcp://…". Fails if nobody listens there, or one of the two sides does not trust
  // the other.
  static Result<Connection> Connect(const std::string& address,
                                    const std::optional<DaemonTls>& tls = std::nullopt);
  // To an engine in this process. `share_trees` (may be null) tells it that a session's folders can
  // be read directly; null trees take that back.
  using ShareTrees =
      std::function<void(const std::string& session_id, filesync::TreeSource* trees)>;
  static Connection InProcess(std::shared_ptr<grpc::Channel> channel, ShareTrees share_trees);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const ShareTrees& share_trees() const { return share_trees_; }

 private:
  Connection(std::shared_ptr<rpc::Poller> poller, std::shared_ptr<grpc::Channel> channel,
             ShareTrees share_trees)
      : poller_(std::move(poller)),
        channel_(std::move(channel)),
        share_trees_(std::move(share_trees)) {}

  std::shared_ptr<rpc::Poller> poller_;  // carries the channel's bytes through TLS; null without
  std::shared_ptr<grpc::Channel> channel_;
  ShareTrees share_trees_;
};

}  // namespace kiln::client
