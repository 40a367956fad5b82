#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace kiln::rpc {

// Where a daemon listens: "unix://PATH", "tcp://HOST:PORT" or "fd://" (the first socket systemd
// passed).
struct Address {
  enum class Kind { kUnix, kTcp, kFd };
  Kind kind = Kind::kUnix;
  std::string path;  // kUnix
  std::string host;  // kTcp, without brackets
  uint16_t port = 0;

  static Result<Address> Parse(std::string_view text);
  std::string ToString() const;
};

struct SocketOwner {
  // -1: leave as created.
  int uid = -1;
  int gid = -1;
};

// A listening, non-blocking, close-on-exec socket. For unix: the parent directory is made, a stale
// socket removed (a live one is an error), mode 0660.
Result<Fd> ListenOn(const Address& address, const SocketOwner& owner);
// A connected blocking socket.
Result<Fd> ConnectTo(const Address& address);
// All of `data`, on a blocking socket. A peer that is gone is an error, never a signal.
Status SendAll(int socket, std::string_view data);
// The address a bound tcp socket got, for port 0.
Result<Address> BoundAddress(const Fd& socket);

}  // namespace kiln::rpc
