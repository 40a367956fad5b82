#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "rpc/poller.h"
#include "rpc/tls.h"

namespace kiln::rpc {

// TLS connections are pumped between their socket and a plain one for gRPC, on a poller.

struct TlsTimes {
  // What a peer has until it is let in.
  std::chrono::nanoseconds handshake = std::chrono::seconds(10);
  // What it has to end a connection that we have ended.
  std::chrono::nanoseconds closing = std::chrono::seconds(5);
};

// Begins a handshake on the accepted `socket` and returns the plaintext side: a non-blocking socket
// for gRPC. Both are closed when the handshake fails; the accepted one once the peer has had the
// time to read why. `poller` outlives the connection.
Result<Fd> AcceptTls(Poller& poller, std::shared_ptr<const TlsContext> context, Fd socket,
                     const TlsTimes& times = {});

// Shakes hands with the server on the connected, blocking `socket`, whose certificate must be for
// `server_name` (a host name or an IP address); blocks for a few seconds at most. Returns the
// plaintext side. A server that refuses our certificate is an error too.
Result<Fd> ConnectTls(Poller& poller, std::shared_ptr<const TlsContext> context, Fd socket,
                      const std::string& server_name, const TlsTimes& times = {});

}  // namespace kiln::rpc
