#include "rpc/tls_connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>

#include "base/log.h"
#include "base/mutex.h"

namespace kiln::rpc {
namespace {

struct SslDeleter {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using SslPtr = std::unique_ptr<SSL, SslDeleter>;

// How long a server that took the handshake may be silent. It speaks first (HTTP/2's SETTINGS),
// unless it has refused the client's certificate, which TLS 1.3 says only now.
constexpr auto kFirstWords = std::chrono::seconds(3);

// Moves bytes between an SSL socket and a plain one, on the poller thread. Each side has one
// buffer: a side is read only when the other has taken what came before.
class TlsPump : public std::enable_shared_from_this<TlsPump> {
 public:
  TlsPump(Poller& poller, std::shared_ptr<const TlsContext> context, SslPtr ssl, Fd secret,
          Fd plain, const TlsTimes& times)
      : poller_(poller),
        context_(std::move(context)),
        times_(times),
        ssl_(std::move(ssl)),
        secret_(std::move(secret)),
        plain_(std::move(plain)) {}

  // `handshaken`: the handshake has been made.
  void Begin(bool handshaken) EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      // The callbacks own the pump; Close takes them out.
      secret_id_ =
          poller_.Add(secret_.get(), [self = shared_from_this()](uint32_t) { self->Step(); });
      plain_id_ =
          poller_.Add(plain_.get(), [self = shared_from_this()](uint32_t) { self->Step(); });
      handshaken_ = handshaken;
    }
    if (handshaken) {
      Step();  // bytes may have been read with the handshake: no event tells of those
      return;
    }
    CloseAfter(times_.handshake, /*handshaken_too=*/false);
    MutexLock lock(mutex_);
    if (!closed_) poller_.Arm(secret_id_, secret_.get(), EPOLLIN);
  }

 private:
  // Unless `handshaken_too`, only what has not got through its handshake by then.
  void CloseAfter(std::chrono::nanoseconds time, bool handshaken_too) {
    poller_.After(time, [weak = weak_from_this(), handshaken_too] {
      if (const auto self = weak.lock()) self->OnTime(handshaken_too);
    });
  }

  void OnTime(bool handshaken_too) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (closed_ || ((handshaken_ || refused_) && !handshaken_too)) return;
    if (!handshaken_ && !refused_) LOG_INFO("TLS handshake: none in the time for it");
    CloseLocked();
  }

  void Step() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (closed_) return;
    if (refused_) {
      Drain();
      return;
    }
    ERR_clear_error();
    uint32_t secret_events = 0;
    uint32_t plain_events = 0;
    bool alive = Handshake(&secret_events);
    if (!alive) {
      Refuse();
      return;
    }
    if (handshaken_) {
      bool moved = true;
      while (alive && moved) {
        moved = false;
        secret_events = plain_events = 0;
        alive = Inbound(&secret_events, &plain_events, &moved) &&
                Outbound(&secret_events, &plain_events, &moved);
      }
    }
    if (!alive) {
      CloseLocked();
      return;
    }
    if (secret_events != 0) poller_.Arm(secret_id_, secret_.get(), secret_events);
    if (plain_events != 0) poller_.Arm(plain_id_, plain_.get(), plain_events);
  }

  bool Handshake(uint32_t* events) REQUIRES(mutex_) {
    if (handshaken_) return true;
    const int result = SSL_accept(ssl_.get());
    if (result == 1) {
      handshaken_ = true;
      return true;
    }
    if (Wants(result, events)) return true;
    LOG_INFO("TLS handshake: {}", TlsError());
    return false;
  }

  // The peer has been told why (an alert), and may have spoken already. A socket that is closed
  // with unread bytes in it is reset, and the alert is lost: so it is read until its end.
  void Refuse() REQUIRES(mutex_) {
    refused_ = true;
    shutdown(secret_.get(), SHUT_WR);
    poller_.Remove(plain_id_, plain_.get());
    plain_.Reset();
    CloseAfter(times_.closing, /*handshaken_too=*/true);
    Drain();
  }

  void Drain() REQUIRES(mutex_) {
    const ssize_t n = recv(secret_.get(), in_.data(), in_.size(), 0);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) {
      poller_.Arm(secret_id_, secret_.get(), EPOLLIN);
    } else {
      CloseLocked();
    }
  }

  // Whether `result` only means "later", and what to wait for.
  bool Wants(int result, uint32_t* events) REQUIRES(mutex_) {
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_WANT_READ) *events |= EPOLLIN;
    if (error == SSL_ERROR_WANT_WRITE) *events |= EPOLLOUT;
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
  }

  // Network to gRPC.
  bool Inbound(uint32_t* secret_events, uint32_t* plain_events, bool* moved) REQUIRES(mutex_) {
    if (in_done_ == in_size_ && !in_end_) {
      const int n = SSL_read(ssl_.get(), in_.data(), static_cast<int>(in_.size()));
      if (n > 0) {
        in_done_ = 0;
        in_size_ = static_cast<size_t>(n);
        *moved = true;
      } else if (!Wants(n, secret_events)) {
        in_end_ = true;
        shutdown(plain_.get(), SHUT_WR);
        return !out_end_;
      }
    }
    while (in_done_ < in_size_) {
      const ssize_t n =
          send(plain_.get(), in_.data() + in_done_, in_size_ - in_done_, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) {
        *plain_events |= EPOLLOUT;
        return true;
      }
      if (n < 0) return false;
      in_done_ += static_cast<size_t>(n);
      *moved = true;
    }
    return true;
  }

  // gRPC to network.
  bool Outbound(uint32_t* secret_events, uint32_t* plain_events, bool* moved) REQUIRES(mutex_) {
    if (out_done_ == out_size_ && !out_end_) {
      const ssize_t n = recv(plain_.get(), out_.data(), out_.size(), 0);
      if (n > 0) {
        out_done_ = 0;
        out_size_ = static_cast<size_t>(n);
        *moved = true;
      } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        *plain_events |= EPOLLIN;
      } else {
        out_end_ = true;
        SSL_shutdown(ssl_.get());
        // A peer that never ends its side would keep the connection for ever.
        CloseAfter(times_.closing, /*handshaken_too=*/true);
        return !in_end_;
      }
    }
    while (out_done_ < out_size_) {
      const int n =
          SSL_write(ssl_.get(), out_.data() + out_done_, static_cast<int>(out_size_ - out_done_));
      if (n <= 0) return Wants(n, secret_events);
      out_done_ += static_cast<size_t>(n);
      *moved = true;
    }
    return true;
  }

  void CloseLocked() REQUIRES(mutex_) {
    closed_ = true;
    poller_.Remove(secret_id_, secret_.get());
    secret_.Reset();
    if (!plain_) return;
    poller_.Remove(plain_id_, plain_.get());
    plain_.Reset();
  }

  Poller& poller_;
  const std::shared_ptr<const TlsContext> context_;
  const TlsTimes times_;
  Mutex mutex_;
  const SslPtr ssl_ PT_GUARDED_BY(mutex_);
  Fd secret_ GUARDED_BY(mutex_);
  Fd plain_ GUARDED_BY(mutex_);
  Poller::Id secret_id_ GUARDED_BY(mutex_) = 0;
  Poller::Id plain_id_ GUARDED_BY(mutex_) = 0;
  bool handshaken_ GUARDED_BY(mutex_) = false;
  bool refused_ GUARDED_BY(mutex_) = false;  // the handshake failed
  bool closed_ GUARDED_BY(mutex_) = false;
  bool in_end_ GUARDED_BY(mutex_) = false;
  bool out_end_ GUARDED_BY(mutex_) = false;
  size_t in_done_ GUARDED_BY(mutex_) = 0;
  size_t in_size_ GUARDED_BY(mutex_) = 0;
  size_t out_done_ GUARDED_BY(mutex_) = 0;
  size_t out_size_ GUARDED_BY(mutex_) = 0;
  std::array<unsigned char, 16 << 10> in_ GUARDED_BY(mutex_){};
  std::array<unsigned char, 16 << 10> out_ GUARDED_BY(mutex_){};
};

Result<SslPtr> NewSsl(const TlsContext& context, const Fd& socket) {
  SslPtr ssl(SSL_new(context.get()));
  if (!ssl || SSL_set_fd(ssl.get(), socket.get()) != 1) return Internal("TLS: {}", TlsError());
  return ssl;
}

Result<std::pair<Fd, Fd>> PlainPair() {
  std::array<int, 2> fds{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()) != 0)
    return ErrnoError(errno, "socketpair");
  return std::pair(Fd(fds[0]), Fd(fds[1]));
}

// Blocking reads and writes give up after so long; 0: never.
void LimitWaiting(const Fd& socket, std::chrono::nanoseconds time) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
  const auto rest = std::chrono::duration_cast<std::chrono::microseconds>(time - seconds);
  const timeval value{seconds.count(), rest.count()};
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value);
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &value, sizeof value);
}

bool IsIpAddress(const std::string& name) {
  in6_addr ignored{};
  return inet_pton(AF_INET, name.c_str(), &ignored) == 1 ||
         inet_pton(AF_INET6, name.c_str(), &ignored) == 1;
}

Status ExpectServer(SSL* ssl, const std::string& name) {
  if (name.empty()) return InvalidArgument("TLS needs the server's name");
  if (IsIpAddress(name)) {
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) != 1)
      return Internal("TLS: {}", TlsError());
    return OkStatus();
  }
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (SSL_set1_host(ssl, name.c_str()) != 1 || SSL_set_tlsext_host_name(ssl, name.c_str()) != 1)
    return InvalidArgument("TLS server name {}: {}", name, TlsError());
  return OkStatus();
}

Error HandshakeError(SSL* ssl, int result) {
  const int why = SSL_get_error(ssl, result);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
    return Unavailable("TLS handshake: the server does not answer");
  const long verified = SSL_get_verify_result(ssl);
  const std::string text = TlsError();
  if (verified == X509_V_OK) return Unavailable("TLS handshake: {}", text);
  return Unavailable("TLS handshake: the server's certificate: {}",
                     X509_verify_cert_error_string(verified));
}

// A server that has refused us says so instead of speaking HTTP/2.
Status AwaitFirstWords(SSL* ssl) {
  char byte = 0;
  const int n = SSL_peek(ssl, &byte, 1);
  if (n > 0) return OkStatus();
  const int why = SSL_get_error(ssl, n);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return OkStatus();
  return Unavailable("TLS: the server refuses the connection: {}", TlsError());
}

}  // namespace

Result<Fd> AcceptTls(Poller& poller, std::shared_ptr<const TlsContext> context, Fd socket,
                     const TlsTimes& times) {
  TRY_ASSIGN(auto plain, PlainPair());
  TRY_ASSIGN(SslPtr ssl, NewSsl(*context, socket));
  std::make_shared<TlsPump>(poller, std::move(context), std::move(ssl), std::move(socket),
                            std::move(plain.first), times)
      ->Begin(/*handshaken=*/false);
  return std::move(plain.second);
}

Result<Fd> ConnectTls(Poller& poller, std::shared_ptr<const TlsContext> context, Fd socket,
                      const std::string& server_name, const TlsTimes& times) {
  TRY_ASSIGN(auto plain, PlainPair());
  TRY_ASSIGN(SslPtr ssl, NewSsl(*context, socket));
  TRY(ExpectServer(ssl.get(), server_name));
  LimitWaiting(socket, times.handshake);
  ERR_clear_error();
  if (const int result = SSL_connect(ssl.get()); result != 1)
    return HandshakeError(ssl.get(), result);
  LimitWaiting(socket, kFirstWords);
  TRY(AwaitFirstWords(ssl.get()));
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return ErrnoError(errno, "making a socket non-blocking");
  std::make_shared<TlsPump>(poller, std::move(context), std::move(ssl), std::move(socket),
                            std::move(plain.first), times)
      ->Begin(/*handshaken=*/true);
  return std::move(plain.second);
}

}  // namespace kiln::rpc
