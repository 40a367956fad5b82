#pragma once

#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/result.h"
#include "client/build.h"
#include "sys/spawner.h"

namespace kiln::cmd {

// `--ssh ID=KEY[,KEY…]`: private keys in files, for which an agent is started.
struct SshKeys {
  std::string id;
  std::vector<std::string> files;
};

// OpenSSH's agents with keys of one build, beside any agent of the user's: they end with this. Keys
// are read and unlocked by ssh-add.
class SshAgents {
 public:
  explicit SshAgents(sys::Spawner& spawner) : spawner_(spawner) {}
  ~SshAgents();
  SshAgents(const SshAgents&) = delete;
  SshAgents& operator=(const SshAgents&) = delete;

  // Starts an agent and gives it the keys. The user is asked for passphrases, at the terminal or by
  // SSH_ASKPASS; an error if a key wants one and there is neither.
  Result<client::SshAgent> Start(const SshKeys& keys, const CancelToken& cancel);

 private:
  Status Add(const std::string& socket, const SshKeys& keys, const std::string& file,
             const CancelToken& cancel);

  sys::Spawner& spawner_;
  std::string directory_;  // of the sockets; empty: none yet
  std::vector<sys::Child> agents_;
};

}  // namespace kiln::cmd
