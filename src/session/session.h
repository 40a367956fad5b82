#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "base/result.h"

namespace kiln::filesync {
class TreeSource;
}

namespace kiln::session {

// What a client says of itself when it opens a session.
struct SessionInfo {
  std::string id;
  std::string shared_key;            // may be empty
  std::vector<std::string> methods;  // "/package.Service/Method"
};

// One client that can be called back. Safe from any thread.
class Session {
 public:
  struct Connection;  // session/connection.h

  Session(SessionInfo info, std::shared_ptr<Connection> connection);
  ~Session();

  const std::string& id() const { return info_.id; }
  const std::string& shared_key() const { return info_.shared_key; }
  // Whether the client announced this method; case does not matter.
  bool Supports(std::string_view method) const;
  // Cancelled (Unavailable) once the session is over.
  CancelToken closed() const { return closed_.token(); }
  // For the typed callers of this module.
  Connection& connection() const { return *connection_; }

 private:
  friend class Manager;
  SessionInfo info_;
  std::shared_ptr<Connection> connection_;
  CancelSource closed_;
};

using SessionPtr = std::shared_ptr<Session>;

}  // namespace kiln::session
