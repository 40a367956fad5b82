#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "rpc/poller.h"

struct ssl_ctx_st;

namespace kiln::rpc {

struct TlsFiles {
  std::string cert;  // PEM, chain allowed
  std::string key;
  std::string ca;  // if set, peers must show a certificate signed by it
};

// A server's TLS settings, read once. ALPN "h2" is selected if offered; a client that offers none
// is welcome.
class TlsContext {
 public:
  // Certificate and key: both.
  static Result<std::shared_ptr<const TlsContext>> Load(const TlsFiles& files);
  ~TlsContext();
  ssl_ctx_st* get() const { return context_; }

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;
};

// Begins a handshake on the accepted `socket` and returns the plaintext side: a non-blocking socket
// for gRPC. Handshake and pumping run on `poller`; a failed handshake closes both.
Result<Fd> AcceptTls(Poller& poller, const TlsContext& context, Fd socket);

}  // namespace kiln::rpc
