#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "progress/activity.h"

namespace kiln::session {

// A client's SSH agent as a socket in our file system, for a step or a program of ours. Has threads
// of its own: one that accepts, one for each connection; the destructor ends them and removes the
// socket.
class AgentSocket {
 public:
  struct Options {
    std::string directory;  // ours; made if missing
    uid_t uid = 0;
    gid_t gid = 0;
    mode_t mode = 0600;
  };

  // Connects a stream socket with the agent until either side is done. Blocks; called from several
  // threads.
  using Forward = std::function<Status(const progress::Activity& activity, Fd connection)>;

  // What `forward` uses outlives it.
  static Result<std::unique_ptr<AgentSocket>> Open(const Options& options, Forward forward,
                                                   const progress::Activity& activity);
  ~AgentSocket();
  AgentSocket(const AgentSocket&) = delete;
  AgentSocket& operator=(const AgentSocket&) = delete;

  const std::string& path() const;

 private:
  struct Impl;
  explicit AgentSocket(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kiln::session
