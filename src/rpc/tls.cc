#include "rpc/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstring>

#include "base/log.h"

namespace kiln::rpc {
namespace {

constexpr unsigned char kAlpn[] = {2, 'h', '2'};
constexpr unsigned char kSessionContext[] = {'k', 'i', 'l', 'n'};

int SelectAlpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
               unsigned in_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kAlpn, sizeof kAlpn, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

Status UseCertificate(SSL_CTX* context, const TlsFiles& files) {
  if (files.cert.empty() || files.key.empty())
    return InvalidArgument("TLS needs both a certificate and its key");
  if (SSL_CTX_use_certificate_chain_file(context, files.cert.c_str()) != 1)
    return InvalidArgument("TLS certificate {}: {}", files.cert, TlsError());
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1)
    return InvalidArgument("TLS key {}: {}", files.key, TlsError());
  return OkStatus();
}

Status UseAuthority(SSL_CTX* context, const std::string& path) {
  if (SSL_CTX_load_verify_locations(context, path.c_str(), nullptr) != 1)
    return InvalidArgument("TLS authority {}: {}", path, TlsError());
  return OkStatus();
}

void SetCommon(SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

}  // namespace

std::string TlsError() {
  // The first is the cause; what follows says who noticed.
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "the connection ended";
  if (const char* reason = ERR_reason_error_string(code); reason != nullptr) return reason;
  if (ERR_SYSTEM_ERROR(code)) return std::strerror(ERR_GET_REASON(code));
  return fmt::format("TLS error {:x}", code);
}

Result<std::shared_ptr<const TlsContext>> TlsContext::LoadServer(const TlsFiles& files) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (context == nullptr) return Internal("TLS: {}", TlsError());
  std::shared_ptr<const TlsContext> result(new TlsContext(context));
  SetCommon(context);
  SSL_CTX_set_alpn_select_cb(context, SelectAlpn, nullptr);
  // Without it, a client that shows a certificate and resumes a session is turned away. What a
  // session was begun under is this context: keys of another do not open its tickets, so a changed
  // authority ends sessions as well.
  SSL_CTX_set_session_id_context(context, kSessionContext, sizeof kSessionContext);
  TRY(UseCertificate(context, files));
  if (!files.ca.empty()) {
    TRY(UseAuthority(context, files.ca));
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return result;
}

Result<std::shared_ptr<const TlsContext>> TlsContext::LoadClient(const TlsFiles& files) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  if (context == nullptr) return Internal("TLS: {}", TlsError());
  std::shared_ptr<const TlsContext> result(new TlsContext(context));
  SetCommon(context);
  SSL_CTX_set_alpn_protos(context, kAlpn, sizeof kAlpn);
  if (!files.cert.empty() || !files.key.empty()) TRY(UseCertificate(context, files));
  if (!files.ca.empty()) {
    TRY(UseAuthority(context, files.ca));
  } else if (SSL_CTX_set_default_verify_paths(context) != 1) {
    return Internal("TLS authorities of this machine: {}", TlsError());
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  return result;
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

TlsServer::Stamp TlsServer::StampOf(const std::string& path) {
  struct stat info{};
  if (path.empty() || stat(path.c_str(), &info) != 0) return {};
  const auto nanos = [](const timespec& time) {
    return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  return {info.st_dev, info.st_ino, info.st_size, nanos(info.st_mtim), nanos(info.st_ctim)};
}

TlsServer::Stamps TlsServer::StampAll() const {
  return {StampOf(files_.cert), StampOf(files_.key), StampOf(files_.ca)};
}

Result<std::shared_ptr<TlsServer>> TlsServer::Load(TlsFiles files) {
  std::shared_ptr<TlsServer> server(new TlsServer(std::move(files)));
  MutexLock lock(server->mutex_);
  server->stamps_ = server->StampAll();
  TRY_ASSIGN(server->context_, TlsContext::LoadServer(server->files_));
  return server;
}

std::shared_ptr<const TlsContext> TlsServer::Current() {
  const Stamps now = StampAll();
  MutexLock lock(mutex_);
  if (now == stamps_) return context_;
  stamps_ = now;
  auto loaded = TlsContext::LoadServer(files_);
  if (loaded.ok()) {
    LOG_INFO("TLS certificates were read again: {} has changed", files_.cert);
    context_ = *std::move(loaded);
  } else {
    LOG_WARNING("TLS certificates have changed, and the old ones stay in use: {}", loaded.error());
  }
  return context_;
}

}  // namespace kiln::rpc
