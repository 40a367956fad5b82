#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>

#include "base/fd.h"
#include "base/mutex.h"
#include "rpc/poller.h"
#include "rpc/tls.h"

namespace kiln::rpc {

struct AcceptLimits {
  // Open at a time; who comes then finds the connection closed.
  size_t connections = 1000;
  // Until the next try, when the system has no descriptors or memory for a connection.
  std::chrono::nanoseconds pause = std::chrono::milliseconds(100);
};

// Takes the connections of one listening socket, on a poller.
class Acceptor : public std::enable_shared_from_this<Acceptor> {
 public:
  // Called on the poller thread with a non-blocking socket that carries plain bytes.
  using Serve = std::function<void(Fd socket)>;

  // `tls` may be null for plaintext; `poller` outlives the acceptor.
  static std::shared_ptr<Acceptor> Start(Poller& poller, Fd listener,
                                         std::shared_ptr<TlsServer> tls, Serve serve,
                                         const AcceptLimits& limits = {});
  // No connection is taken after this returns. Not on the poller thread.
  void Stop() EXCLUDES(mutex_);

 private:
  Acceptor(Poller& poller, Fd listener, std::shared_ptr<TlsServer> tls, Serve serve,
           const AcceptLimits& limits)
      : poller_(poller),
        listener_(std::move(listener)),
        tls_(std::move(tls)),
        serve_(std::move(serve)),
        limits_(limits) {}

  void OnReadable() EXCLUDES(mutex_);
  void Take(Fd socket);
  // Whether there is room for one more.
  bool Admit(const Fd& socket);
  void ForgetClosed();
  void Pause(int error);
  void Arm() EXCLUDES(mutex_);
  // Says so in the log, but not each time.
  void Complain(const std::string& what);

  Poller& poller_;
  const Fd listener_;
  const std::shared_ptr<TlsServer> tls_;
  const Serve serve_;
  const AcceptLimits limits_;
  Mutex mutex_;
  Poller::Id id_ GUARDED_BY(mutex_) = 0;
  bool stopped_ GUARDED_BY(mutex_) = false;

  // The poller thread's own. gRPC does not tell when a connection has gone: they are known by the
  // numbers of their sockets, and looked up only when there seem to be too many.
  std::unordered_set<uint64_t> connections_;
  std::chrono::steady_clock::time_point next_look_{};
  std::chrono::steady_clock::time_point next_complaint_{};
  uint64_t unsaid_ = 0;
};

}  // namespace kiln::rpc
