#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "ops/step_secrets.h"
#include "progress/activity.h"

namespace kiln::ops {

// A client's SSH agent as a socket in our file system, to be bound into a step. Has threads of its
// own: one that accepts, one for each connection; the destructor ends them and removes the socket.
class SshSocket {
 public:
  struct Options {
    std::string directory;  // ours; made if missing
    std::string agent_id;
    uid_t uid = 0;
    gid_t gid = 0;
    mode_t mode = 0600;
  };

  // `secrets` outlives it.
  static Result<std::unique_ptr<SshSocket>> Open(const Options& options, StepSecrets& secrets,
                                                 const progress::Activity& activity);
  ~SshSocket();
  SshSocket(const SshSocket&) = delete;
  SshSocket& operator=(const SshSocket&) = delete;

  const std::string& path() const;

 private:
  struct Impl;
  explicit SshSocket(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kiln::ops
