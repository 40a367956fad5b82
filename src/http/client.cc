#include "http/client.h"

#include <curl/curl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/strings.h"
#include "http/slot.h"
#include "http/transfer.h"

namespace kiln::http {
namespace {

constexpr std::chrono::seconds kMaxIdle{60};

constexpr std::array<const char*, 5> kCaBundles = {
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem"};

ClientOptions WithCaBundle(ClientOptions options) {
  if (!options.ca_bundle.empty()) return options;
  for (const char* path : kCaBundles) {
    if (access(path, R_OK) == 0) {
      options.ca_bundle = path;
      break;
    }
  }
  return options;
}

// Requests with equal keys may share connections.
std::string KeyOf(const Url& url, const Request& request) {
  const TlsOptions& tls = request.tls;
  std::string key = url.origin() + (tls.verify ? "" : " insecure");
  if (!request.unix_socket.empty()) key += "\nunix " + request.unix_socket;
  for (const std::string& file : tls.ca_files) key += "\nca " + file;
  if (tls.client) key += "\ncert " + tls.client->certificate_file + "\n" + tls.client->key_file;
  return key;
}

// Same host and port, or the same host's https after its http.
bool MayKeepCredentials(const Url& from, const Url& to) {
  if (SameOrigin(from, to)) return true;
  return EqualsIgnoreCase(from.host, to.host) && from.scheme == "http" && to.scheme == "https" &&
         from.has_default_port() && to.has_default_port();
}

// The request that follows a redirect.
Status Follow(const Response& response, const Url& from, Request& request) {
  TRY_ASSIGN_CTX(request.url, ResolveUrl(request.url, response.header("Location")),
                 "following redirect");
  TRY_ASSIGN(const Url to, Url::Parse(request.url));
  if (!MayKeepCredentials(from, to)) {
    for (const char* name : {"Authorization", "Cookie", "Proxy-Authorization"}) {
      RemoveHeader(request.headers, name);
    }
  }
  const bool keeps_method = response.status == 307 || response.status == 308 ||
                            request.method == "GET" || request.method == "HEAD";
  if (!keeps_method) {
    request.method = "GET";
    request.body = nullptr;
    for (const char* name : {"Content-Type", "Content-Length"}) {
      RemoveHeader(request.headers, name);
    }
  } else if (request.body != nullptr) {
    TRY(request.body->Rewind());
  }
  --request.max_redirects;
  return OkStatus();
}

class LimitedSink final : public ResponseSink {
 public:
  explicit LimitedSink(size_t limit) : limit_(limit) {}
  Status OnHeaders(const Response& response) override {
    body_.clear();
    const auto length = response.content_length();
    return length && response.status != 304 ? CheckSize(static_cast<uint64_t>(*length))
                                            : OkStatus();
  }
  Status OnData(std::string_view data) override {
    TRY(CheckSize(body_.size() + data.size()));
    body_ += data;
    return OkStatus();
  }
  std::string Take() { return std::move(body_); }
  bool exceeded() const { return exceeded_; }
  void set_head(bool head) { head_ = head; }

 private:
  Status CheckSize(uint64_t size) {
    if (head_ || size <= limit_) return OkStatus();
    exceeded_ = true;
    return ResourceExhausted("response is longer than {} bytes", limit_);
  }

  const size_t limit_;
  std::string body_;
  bool exceeded_ = false;
  bool head_ = false;
};

}  // namespace

Library::Library() { CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); }
Library::~Library() { curl_global_cleanup(); }

Client::Client(const Library& /*library*/, ClientOptions options)
    : options_(WithCaBundle(std::move(options))) {}

Client::~Client() = default;

std::unique_ptr<Client::Slot> Client::Acquire(const std::string& key) {
  std::list<std::unique_ptr<Slot>> expired;
  const MutexLock lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  while (!idle_.empty() && now - idle_.front()->idle_since > kMaxIdle) {
    expired.splice(expired.end(), idle_, idle_.begin());
  }
  for (auto it = idle_.rbegin(); it != idle_.rend(); ++it) {
    if ((*it)->key() != key) continue;
    std::unique_ptr<Slot> slot = std::move(*it);
    idle_.erase(std::next(it).base());
    return slot;
  }
  return std::make_unique<Slot>(key);
}

void Client::Release(std::unique_ptr<Slot> slot) {
  std::unique_ptr<Slot> evicted;
  const MutexLock lock(mutex_);
  slot->idle_since = std::chrono::steady_clock::now();
  idle_.push_back(std::move(slot));
  if (idle_.size() > options_.max_idle_connections) {
    evicted = std::move(idle_.front());
    idle_.pop_front();
  }
}

Result<Response> Client::Once(const Request& request, ResponseSink& sink, Failure& failure) {
  failure = Failure::kRequest;
  TRY_ASSIGN(const Url url, Url::Parse(request.url));
  std::unique_ptr<Slot> slot = Acquire(KeyOf(url, request));
  if (!slot->valid()) return ResourceExhausted("out of memory for a connection");
  failure = Failure::kNone;
  Result<Response> response = [&]() -> Result<Response> {
    CURL* const easy = slot->NewEasy();
    if (easy == nullptr) return ResourceExhausted("out of memory");
    Transfer transfer(slot->multi(), easy, request, url, {options_, ca_bundles_}, sink);
    return transfer.Run(failure);
  }();
  Release(std::move(slot));
  return response;
}

Result<Response> Client::Stream(const Request& original, ResponseSink& sink, Failure* failure) {
  Failure ignored = Failure::kNone;
  Failure& outcome = failure != nullptr ? *failure : ignored;
  const auto name = [&](const Request& request) {
    return request.method + " " + Quoted(RedactUrl(request.url));
  };
  Request request = original;
  while (true) {
    Result<Response> response = Once(request, sink, outcome);
    if (!response.ok()) {
      // A failing sink or source says itself what is wrong.
      if (outcome != Failure::kCaller) response.error().AddContext(name(request));
      return response;
    }
    if (!IsRedirect(*response) || original.max_redirects == 0) return response;
    outcome = Failure::kProtocol;
    if (request.max_redirects == 1) {
      return Unavailable("{}: stopped after {} redirects", name(original), original.max_redirects);
    }
    const Url from = Url::Parse(request.url).value();
    TRY_CTX(Follow(*response, from, request), "{}", name(original));
  }
}

Result<Response> Client::Send(const Request& request, size_t body_limit, Failure* failure) {
  Failure ignored = Failure::kNone;
  Failure& outcome = failure != nullptr ? *failure : ignored;
  LimitedSink sink(body_limit);
  sink.set_head(request.method == "HEAD");
  Request whole = request;
  whole.is_document = request.body == nullptr;
  Result<Response> response = Stream(whole, sink, &outcome);
  if (!response.ok()) {
    if (sink.exceeded()) {
      outcome = Failure::kBodyLimit;
      response.error().AddContext(request.method + " " + Quoted(RedactUrl(request.url)));
    }
    return response;
  }
  response->body = sink.Take();
  return response;
}

}  // namespace kiln::http
