#include "rpc/tls.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <mutex>

#include "base/log.h"
#include "rpc/byte_pipe.h"

namespace kiln::rpc {
namespace {

std::string OpenSslError() {
  std::array<char, 256> text{};
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown TLS error";
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

int SelectAlpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
               unsigned in_size, void*) {
  static constexpr unsigned char kH2[] = {2, 'h', '2'};
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kH2, sizeof kH2, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// Moves bytes between an SSL socket and a plain one, all on the poller thread except the
// destructor. Each side has one buffer: a side is read only when the other has taken what came
// before.
class TlsPump : public std::enable_shared_from_this<TlsPump> {
 public:
  TlsPump(Poller& poller, SSL* ssl, Fd secret, Fd plain)
      : poller_(poller), ssl_(ssl), secret_(std::move(secret)), plain_(std::move(plain)) {}
  ~TlsPump() { SSL_free(ssl_); }

  void Begin() {
    std::lock_guard lock(mu_);
    // The callbacks own the pump; Close takes them out.
    secret_id_ =
        poller_.Add(secret_.get(), [self = shared_from_this()](uint32_t) { self->Step(); });
    plain_id_ = poller_.Add(plain_.get(), [self = shared_from_this()](uint32_t) { self->Step(); });
    poller_.Arm(secret_id_, secret_.get(), EPOLLIN);
  }

 private:
  void Step() {
    std::lock_guard lock(mu_);
    if (closed_) return;
    ERR_clear_error();
    uint32_t secret_events = 0;
    uint32_t plain_events = 0;
    bool alive = Handshake(&secret_events);
    if (alive && handshaken_) {
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

  bool Handshake(uint32_t* events) {
    if (handshaken_) return true;
    const int result = SSL_accept(ssl_);
    if (result == 1) {
      handshaken_ = true;
      return true;
    }
    if (Wants(result, events)) return true;
    LOG_WARNING("TLS handshake: {}", OpenSslError());
    return false;
  }

  // Whether `result` only means "later", and what to wait for.
  bool Wants(int result, uint32_t* events) {
    const int error = SSL_get_error(ssl_, result);
    if (error == SSL_ERROR_WANT_READ) *events |= EPOLLIN;
    if (error == SSL_ERROR_WANT_WRITE) *events |= EPOLLOUT;
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
  }

  // Network to gRPC.
  bool Inbound(uint32_t* secret_events, uint32_t* plain_events, bool* moved) {
    if (in_done_ == in_size_ && !in_end_) {
      const int n = SSL_read(ssl_, in_.data(), static_cast<int>(in_.size()));
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
  bool Outbound(uint32_t* secret_events, uint32_t* plain_events, bool* moved) {
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
        SSL_shutdown(ssl_);
        return !in_end_;
      }
    }
    while (out_done_ < out_size_) {
      const int n =
          SSL_write(ssl_, out_.data() + out_done_, static_cast<int>(out_size_ - out_done_));
      if (n <= 0) return Wants(n, secret_events);
      out_done_ += static_cast<size_t>(n);
      *moved = true;
    }
    return true;
  }

  void CloseLocked() {
    closed_ = true;
    poller_.Remove(secret_id_, secret_.get());
    poller_.Remove(plain_id_, plain_.get());
    secret_.Reset();
    plain_.Reset();
  }

  Poller& poller_;
  SSL* ssl_;
  std::mutex mu_;
  Fd secret_;
  Fd plain_;
  Poller::Id secret_id_ = 0;
  Poller::Id plain_id_ = 0;
  bool handshaken_ = false;
  bool closed_ = false;
  bool in_end_ = false;
  bool out_end_ = false;
  size_t in_done_ = 0;
  size_t in_size_ = 0;
  size_t out_done_ = 0;
  size_t out_size_ = 0;
  std::array<unsigned char, 16 << 10> in_{};
  std::array<unsigned char, 16 << 10> out_{};
};

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::Load(const TlsFiles& files) {
  if (files.cert.empty() || files.key.empty())
    return InvalidArgument("TLS needs both a certificate and a key");
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (context == nullptr) return Internal("TLS: {}", OpenSslError());
  std::shared_ptr<const TlsContext> result(new TlsContext(context));
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_alpn_select_cb(context, SelectAlpn, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context, files.cert.c_str()) != 1) {
    return InvalidArgument("TLS certificate {}: {}", files.cert, OpenSslError());
  }
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return InvalidArgument("TLS key {}: {}", files.key, OpenSslError());
  }
  if (!files.ca.empty()) {
    if (SSL_CTX_load_verify_locations(context, files.ca.c_str(), nullptr) != 1) {
      return InvalidArgument("TLS CA {}: {}", files.ca, OpenSslError());
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return result;
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<Fd> AcceptTls(Poller& poller, const TlsContext& context, Fd socket) {
  std::array<int, 2> fds{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()) != 0) {
    return ErrnoError(errno, "socketpair");
  }
  Fd plain(fds[0]);
  Fd other(fds[1]);
  SSL* ssl = SSL_new(context.get());
  if (ssl == nullptr || SSL_set_fd(ssl, socket.get()) != 1) {
    SSL_free(ssl);
    return Internal("TLS: {}", OpenSslError());
  }
  std::make_shared<TlsPump>(poller, ssl, std::move(socket), std::move(plain))->Begin();
  return other;
}

}  // namespace kiln::rpc
