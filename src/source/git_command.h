#pragma once

// Inside source only.

#include <memory>
#include <string>
#include <vector>

#include "base/secret.h"
#include "llb/source_id.h"
#include "progress/activity.h"
#include "session/agent_socket.h"
#include "source/sources.h"

namespace kiln::source {

// One call of git.
struct GitCall {
  std::vector<std::string> args;  // without "git"
  std::string cwd = "/";
  std::string git_dir;     // empty: found from cwd
  std::string work_tree;   // empty: git's own idea
  std::string index_file;  // empty: the repository's
  // Whether it may read repositories of our own disk, and nothing else; otherwise only remote ones.
  bool from_disk = false;
  // Talks to the remote: ended when nothing is heard for too long. `fetch` and the like want
  // --progress, which git's silence is told by.
  bool remote = false;
  // A question whose answer may be no: what git says is not shown.
  bool quiet = false;
};

struct GitResult {
  bool ok = false;
  std::string out;
  std::string err;     // redacted
  std::string status;  // "exit code 128"
};

// Runs git for one source on behalf of one build: with the secrets, agents and known hosts of its
// clients, without any configuration, key or prompt of this machine. Holds the agent's socket and
// a private directory as long as it lives.
class Git {
 public:
  // Looks up secrets and agent. Blocks.
  static Result<std::unique_ptr<Git>> Open(const Services& services, const llb::GitSource& spec,
                                           const progress::Activity& activity);
  ~Git();
  Git(const Git&) = delete;
  Git& operator=(const Git&) = delete;

  // A failure of git is a result.
  Result<GitResult> Try(const GitCall& call) const;
  // Standard output; a failure of git is an error that says what git said.
  Result<std::string> Run(const GitCall& call) const;
  static Error Failed(const GitCall& call, const GitResult& result);

  // Whether git's advice is to be shown (git.advice).
  bool advises() const;
  // Private, empty at first, removed with this.
  const std::string& directory() const { return directory_; }

 private:
  Git(const Services& services, const llb::GitSource& spec, const progress::Activity& activity)
      : services_(services), spec_(spec), activity_(activity) {}
  Status FindAuthorization();
  Status PrepareSsh();
  std::vector<std::string> Environment(const GitCall& call) const;
  std::string SshCommand() const;

  const Services& services_;
  const llb::GitSource& spec_;
  const progress::Activity& activity_;
  std::string directory_;
  SecretString authorization_;
  std::unique_ptr<session::AgentSocket> agent_;
};

}  // namespace kiln::source
