#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/result.h"
#include "control/config.h"

namespace grpc {
class Channel;
}
namespace kiln::filesync {
class TreeSource;
}
namespace kiln::sys {
class Spawner;
}

namespace kiln::control {

// The composition root: every part of the engine, built from a configuration and served on sockets
// or inside the process. One per root directory.
class Daemon {
 public:
  // Takes the root (Unavailable if another process holds it), recovers what an earlier life left,
  // and is then ready. Listens nowhere yet. `spawner` comes from sys::MainEarly and outlives the
  // daemon.
  static Result<std::unique_ptr<Daemon>> Start(const Config& config, sys::Spawner& spawner);
  // As Shutdown without grace.
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Serves one more address; TLS, owner and mode as configured.
  Status Listen(const std::string& address);
  // All of the configuration's addresses.
  Status ListenAll();
  // For a client in this process (client::Connection::InProcess).
  Result<std::shared_ptr<grpc::Channel>> InProcessChannel();
  // The folders behind session `id`, read directly instead of through its tunnel; null takes them
  // back.
  void ShareTrees(const std::string& id, filesync::TreeSource* trees);

  // Builds that have not ended.
  size_t active_builds() const;

  // Refuses new builds, gives running ones `grace`, cancels the rest and ends what they left.
  // Blocks. Idempotent.
  void Shutdown(std::chrono::milliseconds grace);

 private:
  struct Parts;
  explicit Daemon(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace kiln::control
