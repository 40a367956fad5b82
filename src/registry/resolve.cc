// Repository: finding out what a name stands for, and reading small documents.

#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "oci/media_type.h"
#include "registry/errors.h"
#include "registry/registry.h"
#include "registry/repository_calls.h"
#include "registry/slots.h"

namespace kiln::registry {
namespace {

constexpr http::RetryPolicy kNoRetry{.attempts = 1};

bool IsKnownManifest(std::string_view media_type) {
  return oci::IsIndex(media_type) || oci::IsManifest(media_type);
}

// Docker's answers for schema 1 images.
bool IsSchemaOne(std::string_view content_type) {
  const std::string_view bare = oci::BareMediaType(content_type);
  return bare == "text/plain" || bare == "application/vnd.docker.distribution.manifest.v1+json" ||
         bare == "application/vnd.docker.distribution.manifest.v1+prettyjws";
}

Error TooLarge(const std::string& name, int64_t size) {
  return FailedPrecondition("{}: manifest of {} bytes is larger than the {} allowed", name, size,
                            oci::kMaxManifestBytes);
}

// What one endpoint says about an object.
class Resolver {
 public:
  Resolver(Exchange& exchange, const http::RetryPolicy& policy, std::string name,
           std::string object)
      : exchange_(exchange), policy_(policy), name_(std::move(name)), object_(std::move(object)) {
    if (object_.find(':') != std::string::npos) {
      if (auto digest = Digest::Parse(object_); digest.ok()) wanted_ = *digest;
    }
    call_.target = "/manifests/" + object_;
    call_.headers = {{"Accept", std::string(kAcceptManifests)}};
    call_.body_limit = oci::kMaxManifestBytes;
  }

  Result<Resolved> Run() {
    call_.method = "HEAD";
    TRY_ASSIGN(const http::Response head, exchange_.SendWithRetries(call_, policy_));
    if (head.status == 405 || head.status == 403) return Get();
    TRY(CheckStatus(head));
    Resolved resolved;
    auto digest = Digest::Parse(head.header("Docker-Content-Digest"));
    const auto size = head.content_length();
    const std::string type(oci::BareMediaType(head.header("Content-Type")));
    if (IsSchemaOne(type)) return oci::SchemaOneRemoved();
    if (!digest.ok() || !size || *size == 0 || !IsKnownManifest(type)) return Get();
    if (*size > static_cast<int64_t>(oci::kMaxManifestBytes)) return TooLarge(name_, *size);
    if (wanted_ && *wanted_ != *digest) return WrongDigest(*digest, *wanted_);
    resolved.descriptor.digest = *digest;
    resolved.descriptor.size = *size;
    resolved.descriptor.media_type = type;
    return resolved;
  }

  Result<Resolved> Get() {
    call_.method = "GET";
    TRY_ASSIGN(http::Response answer, exchange_.SendWithRetries(call_, policy_));
    TRY(CheckStatus(answer));
    if (IsSchemaOne(answer.header("Content-Type"))) return oci::SchemaOneRemoved();
    Resolved resolved;
    resolved.descriptor.digest = Sha256Of(answer.body);
    resolved.descriptor.size = static_cast<int64_t>(answer.body.size());
    if (wanted_ && *wanted_ != resolved.descriptor.digest) {
      return WrongDigest(resolved.descriptor.digest, *wanted_);
    }
    TRY_ASSIGN_CTX(resolved.descriptor.media_type, oci::DetectManifestMediaType(answer.body), "{}",
                   name_);
    resolved.content = std::move(answer.body);
    return resolved;
  }

 private:
  Status CheckStatus(const http::Response& answer) const {
    if (answer.ok()) return OkStatus();
    if (answer.status == 404) return NotFound("{}: not found", name_);
    if (answer.status == 401 || answer.status == 403) {
      return AccessDenied(Purpose::kPull, call_.method, answer);
    }
    return UnexpectedStatus(call_.method, answer);
  }

  Exchange& exchange_;
  const http::RetryPolicy& policy_;
  const std::string name_;
  const std::string object_;
  std::optional<Digest> wanted_;
  Call call_;
};

Result<std::string> ReadVerified(Exchange& exchange, const Call& call,
                                 const http::RetryPolicy& policy, const std::string& name,
                                 const oci::Descriptor& descriptor) {
  TRY_ASSIGN(http::Response answer, exchange.SendWithRetries(call, policy));
  if (answer.status == 404) return NotFound("{}@{}: not found", name, descriptor.digest);
  if (answer.status == 401 || answer.status == 403) {
    return AccessDenied(Purpose::kPull, call.method, answer);
  }
  if (!answer.ok()) return UnexpectedStatus(call.method, answer);
  if (descriptor.size > 0 && static_cast<int64_t>(answer.body.size()) != descriptor.size) {
    return WrongSize(answer.body.size(), descriptor.size);
  }
  const Digest digest = Sha256Of(answer.body);
  if (digest != descriptor.digest) return WrongDigest(digest, descriptor.digest);
  return std::move(answer.body);
}

}  // namespace

Error WrongDigest(const Digest& got, const Digest& expected) {
  return FailedPrecondition("unexpected commit digest {}, expected {}: failed precondition", got,
                            expected);
}

Error WrongSize(uint64_t got, int64_t expected) {
  return FailedPrecondition("unexpected commit size {}, expected {}: failed precondition", got,
                            expected);
}

bool IsWrongContent(const Error& error) {
  return error.code() == Code::kFailedPrecondition &&
         error.message().starts_with("unexpected commit ");
}

std::string From(const Endpoint& endpoint, std::string_view name) {
  std::string text(name);
  if (!name.starts_with(endpoint.host + "/")) text += " from " + endpoint.host;
  return text;
}

// An answer with a status that says so is one, whatever its code.
NameError::Rank NameError::RankOf(const Error& error) {
  if (error.code() == Code::kNotFound) return Rank::kNotFound;
  const bool silent =
      error.code() == Code::kUnavailable && !error.message().starts_with("unexpected status");
  return silent ? Rank::kNoAnswer : Rank::kAnswer;
}

void NameError::Add(const Endpoint& endpoint, Error error) {
  if (silent_.empty() && RankOf(error) == Rank::kNoAnswer) {
    silent_ = endpoint.host + ": " + error.ToString();
  }
  if (!told_ || RankOf(error) > RankOf(*told_)) told_ = std::move(error);
}

Error NameError::Take() {
  if (RankOf(*told_) != Rank::kNotFound || silent_.empty()) return *std::move(told_);
  Error error(told_->code(), told_->message() + ", and there is no answer of " + silent_);
  for (const std::string& context : told_->contexts()) error.AddContext(context);
  return error;
}

bool IsDenied(const Error& error) { return error.code() == Code::kUnauthenticated; }

Error AccessDenied(Purpose purpose, Error error) {
  error.AddContext(
      fmt::format("{} access denied, repository does not exist or may require authorization",
                  purpose == Purpose::kPull ? "pull" : "push"));
  return error;
}

Error AccessDenied(Purpose purpose, std::string_view method, const http::Response& response) {
  const std::string message = ServerMessage(response);
  Error error = UnexpectedStatus(method, response);
  if (!message.empty())
    error = Error(error.code(), "server message: " + message + ": authorization failed");
  return AccessDenied(purpose, std::move(error));
}

Result<std::vector<Endpoint>> Repository::Endpoints(Purpose purpose) const {
  return EndpointsOf(registry_->options_.hosts, reference_.domain(), purpose, options_.insecure);
}

Result<Exchange> Repository::MakeExchange(const Endpoint& endpoint,
                                          const progress::Activity& activity,
                                          Purpose purpose) const {
  return Exchange(*registry_, endpoint, activity, reference_.path(), purpose);
}

const http::RetryPolicy& Repository::PolicyAt(bool last) const {
  return last ? registry_->options_.retry : kNoRetry;
}

Result<Resolved> Repository::Resolve(const progress::Activity& activity,
                                     std::string_view object) const {
  const bool is_digest = object.find(':') != std::string_view::npos;
  if (is_digest) TRY(Digest::Parse(object));
  const std::string full = name() + (is_digest ? "@" : ":") + std::string(object);
  TRY_ASSIGN(const auto endpoints, Endpoints(Purpose::kPull));
  TRY_ASSIGN(const auto slot,
             registry_->slots_->Acquire(activity, host(), Purpose::kPull, /*is_json=*/true));
  const auto at = [&](const Endpoint& endpoint, bool last) -> Result<Resolved> {
    TRY_ASSIGN(Exchange exchange, MakeExchange(endpoint, activity, Purpose::kPull));
    auto resolved = Resolver(exchange, PolicyAt(last), full, std::string(object)).Run();
    if (!resolved.ok() && IsDenied(resolved.error())) {
      return AccessDenied(Purpose::kPull, std::move(resolved).error());
    }
    if (!resolved.ok() && IsWrongContent(resolved.error())) {
      resolved.error().AddContext(From(endpoint, full));
    }
    return resolved;
  };
  return AtAny<Resolved, NameError>(activity, endpoints, at);
}

Result<std::string> Repository::ReadDocument(const progress::Activity& activity,
                                             const oci::Descriptor& descriptor,
                                             const std::string& target, size_t limit) const {
  if (descriptor.size > static_cast<int64_t>(limit)) {
    return FailedPrecondition("{}@{}: {} bytes are more than the {} allowed", name(),
                              descriptor.digest, descriptor.size, limit);
  }
  TRY_ASSIGN(const auto endpoints, Endpoints(Purpose::kPull));
  TRY_ASSIGN(const auto slot,
             registry_->slots_->Acquire(activity, host(), Purpose::kPull, /*is_json=*/true));
  Call call{.target = target, .body_limit = limit};
  call.headers = {
      {"Accept", target.starts_with("/blobs/") ? "*/*" : std::string(kAcceptManifests)}};
  const auto at = [&](const Endpoint& endpoint, bool last) -> Result<std::string> {
    TRY_ASSIGN(Exchange exchange, MakeExchange(endpoint, activity, Purpose::kPull));
    auto content = ReadVerified(exchange, call, PolicyAt(last), name(), descriptor);
    if (!content.ok() && IsDenied(content.error())) {
      return AccessDenied(Purpose::kPull, std::move(content).error());
    }
    if (!content.ok() && IsWrongContent(content.error())) {
      content.error().AddContext(From(endpoint, name() + "@" + descriptor.digest.ToString()));
    }
    return content;
  };
  return AtAny<std::string>(activity, endpoints, at);
}

Result<std::string> Repository::FetchManifest(const progress::Activity& activity,
                                              const oci::Descriptor& descriptor) const {
  return ReadDocument(activity, descriptor, "/manifests/" + descriptor.digest.ToString(),
                      oci::kMaxManifestBytes);
}

Result<std::string> Repository::FetchSmallBlob(const progress::Activity& activity,
                                               const oci::Descriptor& descriptor,
                                               size_t limit) const {
  return ReadDocument(activity, descriptor, "/blobs/" + descriptor.digest.ToString(), limit);
}

Result<int64_t> Repository::StatBlob(const progress::Activity& activity,
                                     const Digest& digest) const {
  TRY_ASSIGN(const auto endpoints, Endpoints(Purpose::kPull));
  TRY_ASSIGN(const auto slot,
             registry_->slots_->Acquire(activity, host(), Purpose::kPull, /*is_json=*/true));
  const Call call{.method = "HEAD", .target = "/blobs/" + digest.ToString()};
  const auto at = [&](const Endpoint& endpoint, bool last) -> Result<int64_t> {
    TRY_ASSIGN(Exchange exchange, MakeExchange(endpoint, activity, Purpose::kPull));
    TRY_ASSIGN(const http::Response answer, exchange.SendWithRetries(call, PolicyAt(last)));
    if (answer.status == 404) return NotFound("{}@{}: not found", name(), digest);
    if (answer.status == 401 || answer.status == 403) {
      return AccessDenied(Purpose::kPull, call.method, answer);
    }
    if (!answer.ok()) return UnexpectedStatus(call.method, answer);
    const auto size = answer.content_length();
    if (!size) return Unavailable("{}@{}: the registry does not tell the size", name(), digest);
    return *size;
  };
  return AtAny<int64_t>(activity, endpoints, at);
}

Result<oci::Index> Repository::Referrers(const progress::Activity& activity,
                                         const Digest& subject) const {
  TRY_ASSIGN(const auto endpoints, Endpoints(Purpose::kPull));
  TRY_ASSIGN(const auto slot,
             registry_->slots_->Acquire(activity, host(), Purpose::kPull, /*is_json=*/true));
  const auto at = [&](const Endpoint& endpoint, bool last) -> Result<oci::Index> {
    TRY_ASSIGN(Exchange exchange, MakeExchange(endpoint, activity, Purpose::kPull));
    // Registries without the API have the same list under a tag made of the digest.
    for (const std::string& target :
         {"/referrers/" + subject.ToString(), "/manifests/sha256-" + subject.hex()}) {
      Call call{.target = target, .body_limit = oci::kMaxManifestBytes};
      call.headers = {{"Accept", std::string(oci::kOciIndex)}};
      TRY_ASSIGN(const http::Response answer, exchange.SendWithRetries(call, PolicyAt(last)));
      if (answer.status == 404) continue;
      if (!answer.ok()) return UnexpectedStatus("GET", answer);
      return oci::DecodeIndex(answer.body);
    }
    return oci::Index{.media_type = std::string(oci::kOciIndex)};
  };
  return AtAny<oci::Index>(activity, endpoints, at);
}

}  // namespace kiln::registry
