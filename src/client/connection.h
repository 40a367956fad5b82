#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace grpc {
class Channel;
}
namespace kiln::filesync {
class TreeSource;
}

namespace kiln::client {

// A way to a daemon. A value; copies share the channel.
class Connection {
 public:
  // "unix://…" or "tcp://…". Fails if nobody listens there.
  static Result<Connection> Connect(const std::string& address);
  // To an engine in this process. `share_trees` (may be null) tells it that a session's folders can
  // be read directly; null trees take that back.
  using ShareTrees =
      std::function<void(const std::string& session_id, filesync::TreeSource* trees)>;
  static Connection InProcess(std::shared_ptr<grpc::Channel> channel, ShareTrees share_trees);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const ShareTrees& share_trees() const { return share_trees_; }

 private:
  Connection(std::shared_ptr<grpc::Channel> channel, ShareTrees share_trees)
      : channel_(std::move(channel)), share_trees_(std::move(share_trees)) {}

  std::shared_ptr<grpc::Channel> channel_;
  ShareTrees share_trees_;
};

}  // namespace kiln::client
