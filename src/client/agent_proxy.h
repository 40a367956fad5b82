#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace kiln::client {

// One connection to an SSH agent on behalf of a build (draft-miller-ssh-agent): builds may list
// keys and sign with them. Everything else, such as adding or removing keys or having the agent
// load a library, is answered with a failure and never reaches the agent.
class AgentProxy {
 public:
  static Result<AgentProxy> Connect(const std::string& socket);

  // Takes a build's bytes as they come; returns the answers that are due. Waits for the agent,
  // which may ask its user, until `gone` says that nobody wants the answer. An error ends the
  // connection.
  Result<std::string> Ask(std::string_view bytes, const std::function<bool()>& gone);

 private:
  explicit AgentProxy(Fd agent) : agent_(std::move(agent)) {}
  // The agent's answer, with its length.
  Result<std::string> Forward(std::string_view request, const std::function<bool()>& gone);
  Status ReadInto(std::string* out, size_t size, const std::function<bool()>& gone);

  Fd agent_;
  std::string pending_;
};

}  // namespace kiln::client
