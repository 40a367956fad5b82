#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace kiln::rpc {

// Where a daemon listens: "unix://PATH", "tcp://HOST:PORT", "fd://" (all sockets that systemd
// passed) or "fd://NAME" (those of that FileDescriptorName=).
struct Address {
  enum class Kind { kUnix, kTcp, kFd };
  Kind kind = Kind::kUnix;
  std::string path;  // kUnix; kFd: the name, or empty
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

// Listening, non-blocking, close-on-exec sockets, at least one. For unix: the parent directory is
// made, a stale socket removed (a live one is an error), mode 0660. For tcp: one socket for each
// address of the host ("localhost" has two), all on one port.
Result<std::vector<Fd>> ListenOn(const Address& address, const SocketOwner& owner);
// Whether peers of a socket come over a network, as far as its family tells: everything but unix.
Result<bool> IsNetworkSocket(const Fd& socket);
// Has the kernel look after a tcp connection that says nothing: a peer that is gone without a word
// is found out within minutes. Does nothing to other sockets.
void KeepAlive(const Fd& socket);
// A connected blocking socket.
Result<Fd> ConnectTo(const Address& address);
// All of `data`, on a blocking socket. A peer that is gone is an error, never a signal.
Status SendAll(int socket, std::string_view data);
// The address a bound tcp socket got, for port 0.
Result<Address> BoundAddress(const Fd& socket);

}  // namespace kiln::rpc
