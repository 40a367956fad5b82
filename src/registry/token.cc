#include "registry/token.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "http/url.h"
#include "oci/json.h"
#include "oci/json_fields.h"
#include "registry/errors.h"

namespace kiln::registry {
namespace {

constexpr size_t kMaxTokenAnswer = 1 << 20;
constexpr std::chrono::seconds kDefaultLifetime{60};

http::Request MakeRequest(const progress::Activity& activity, const http::TlsOptions& tls) {
  http::Request request;
  request.tls = tls;
  request.cancel = activity.cancel;
  request.deadline = activity.deadline;
  return request;
}

// Sends a request, again where that may help.
Result<http::Response> SendWithRetries(http::Client& client, const http::Request& request,
                                       const http::RetryPolicy& policy) {
  Result<http::Response> last = Internal("no attempt");
  const auto attempt = [&]() -> http::Attempt {
    if (request.body != nullptr) {
      if (Status status = request.body->Rewind(); !status.ok()) return {.status = status};
    }
    http::Failure failure = http::Failure::kNone;
    last = client.Send(request, kMaxTokenAnswer, &failure);
    if (!last.ok()) {
      return {.status = last.error(), .retryable = http::IsRetryableFailure(failure)};
    }
    if (!http::IsRetryableStatus(last->status)) return {};
    return {.status = UnexpectedStatus(request.method, *last),
            .retryable = true,
            .delay = http::RetryAfter(*last, std::chrono::system_clock::now())};
  };
  TRY(http::Retry(policy, request.cancel, attempt));
  return last;
}

Result<http::Response> GetToken(http::Client& client, const progress::Activity& activity,
                                const TokenRequest& wanted, const Credentials& credentials,
                                const http::TlsOptions& tls, const http::RetryPolicy& retry) {
  http::Request request = MakeRequest(activity, tls);
  request.url = wanted.realm;
  if (!wanted.service.empty()) {
    request.url = http::WithQuery(std::move(request.url), "service", wanted.service);
  }
  for (const std::string& scope : wanted.scopes) {
    request.url = http::WithQuery(std::move(request.url), "scope", scope);
  }
  if (!credentials.username.empty()) {
    request.headers.push_back({"Authorization", BasicHeader(credentials).Reveal()});
  }
  return SendWithRetries(client, request, retry);
}

Result<http::Response> PostToken(http::Client& client, const progress::Activity& activity,
                                 const TokenRequest& wanted, const Credentials& credentials,
                                 const http::TlsOptions& tls, const http::RetryPolicy& retry) {
  std::string form = "client_id=" + http::QueryEscape(kTokenClientId) +
                     "&service=" + http::QueryEscape(wanted.service) +
                     "&scope=" + http::QueryEscape(Join(wanted.scopes, " "));
  if (credentials.username.empty()) {
    form +=
        "&grant_type=refresh_token&refresh_token=" + http::QueryEscape(credentials.secret.Reveal());
  } else {
    form += "&grant_type=password&username=" + http::QueryEscape(credentials.username) +
            "&password=" + http::QueryEscape(credentials.secret.Reveal());
  }
  http::StringSource body(form);
  http::Request request = MakeRequest(activity, tls);
  request.method = "POST";
  request.url = wanted.realm;
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}};
  request.body = &body;
  // Credentials are in the body: they go nowhere else.
  request.max_redirects = 0;
  return SendWithRetries(client, request, retry);
}

Result<Token> ParseToken(const std::string& json) {
  TRY_ASSIGN(const nlohmann::json value, oci::ParseJson(json, "token answer"));
  TRY_ASSIGN(const oci::JsonFields fields, oci::JsonFields::Of(value, "token answer"));
  std::string token;
  TRY(fields.String("token", token));
  if (token.empty()) TRY(fields.String("access_token", token));
  if (token.empty())
    return Unauthenticated("authorization server did not include a token in the response");
  int64_t lifetime = 0;
  TRY(fields.Int("expires_in", lifetime));
  std::string issued;
  TRY(fields.String("issued_at", issued));
  Token out{.token = SecretString(std::move(token)),
            .expires_in = std::chrono::seconds(std::clamp<int64_t>(lifetime, 0, 31'536'000))};
  if (auto at = ParseRfc3339(issued); at.ok()) out.issued_at = *at;
  return out;
}

}  // namespace

SecretString BasicHeader(const Credentials& credentials) {
  return SecretString("Basic " +
                      Base64Encode(credentials.username + ":" + credentials.secret.Reveal()));
}

SteadyTime TokenDeadline(const Token& token, const Clock& clock) {
  std::chrono::nanoseconds lifetime =
      token.expires_in.count() > 0 ? token.expires_in : kDefaultLifetime;
  lifetime = lifetime / 10 * 9;
  if (token.issued_at != WallTime()) {
    // A clock that is behind ours must not make the token old at once, one ahead not eternal.
    const WallTime now = clock.Now();
    lifetime -= now - std::clamp(token.issued_at, now - lifetime, now);
  }
  return clock.Steady() + std::chrono::duration_cast<SteadyTime::duration>(lifetime);
}

Result<Token> FetchTokenFromRealm(http::Client& client, const progress::Activity& activity,
                                  const TokenRequest& request, const Credentials& credentials,
                                  const http::TlsOptions& tls, bool secure,
                                  const http::RetryPolicy& retry) {
  TRY_ASSIGN_CTX(const http::Url realm, http::Url::Parse(request.realm),
                 "authorization realm of {}", request.host);
  if (secure && realm.scheme == "http" && !credentials.anonymous()) {
    return FailedPrecondition("refusing to send credentials of {} to {}, which is not encrypted",
                              request.host, realm.origin());
  }
  const bool identity_token = credentials.username.empty() && !credentials.secret.empty();
  Result<http::Response> response =
      identity_token ? PostToken(client, activity, request, credentials, tls, retry)
                     : GetToken(client, activity, request, credentials, tls, retry);
  const bool wants_post =
      response.ok() && !identity_token && !credentials.anonymous() &&
      (response->status == 405 || response->status == 404 || response->status == 401);
  if (wants_post) response = PostToken(client, activity, request, credentials, tls, retry);
  if (!response.ok()) {
    return std::move(response.error().AddContext(credentials.anonymous()
                                                     ? "failed to fetch anonymous token"
                                                     : "failed to fetch oauth token"));
  }
  if (!response->ok()) {
    return std::move(UnexpectedStatus(identity_token || wants_post ? "POST" : "GET", *response)
                         .AddContext(credentials.anonymous() ? "failed to fetch anonymous token"
                                                             : "failed to fetch oauth token"));
  }
  return ParseToken(response->body);
}

}  // namespace kiln::registry
