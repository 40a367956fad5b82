#pragma once

// Inside registry only.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/client.h"
#include "http/retry.h"
#include "progress/activity.h"
#include "registry/authorizer.h"
#include "registry/hosts.h"

namespace kiln::registry {

class Registry;

// Sends a request; only the body of a 2xx answer reaches `sink`.
Result<http::Response> StreamGood(http::Client& client, const http::Request& request,
                                  http::ResponseSink& sink, http::Failure& failure);

// One request as this module makes them.
struct Call {
  std::string method = "GET";
  // Below the repository: "/manifests/latest"; or an absolute URL (an upload's Location).
  std::string target;
  http::Headers headers;
  http::BodySource* body = nullptr;
  // Takes the body of a 2xx answer; null: it is kept in memory, up to `body_limit`.
  http::ResponseSink* sink = nullptr;
  size_t body_limit = size_t{1} << 20;
  ScopeSet extra_scopes;
  std::optional<std::chrono::milliseconds> stall_timeout;  // nothing: the client's
};

// Requests to one repository at one endpoint: builds URLs, authorizes, finds out which scheme the
// server speaks.
class Exchange {
 public:
  Exchange(Registry& registry, Endpoint endpoint, const progress::Activity& activity,
           std::string repository, Purpose purpose);

  const Endpoint& endpoint() const { return endpoint_; }
  const progress::Activity& activity() const { return activity_; }

  // Any answer but a 401 that authorization can cure is returned as it is. Errors: no answer, or
  // authorization failed (`failed to authorize: …`, Unauthenticated).
  Result<http::Response> Send(const Call& call, http::Failure* failure = nullptr);
  // The same, repeated while the trouble may pass. For calls without a sink.
  Result<http::Response> SendWithRetries(const Call& call, const http::RetryPolicy& policy);

  // What both have in common for those who repeat by themselves.
  http::Attempt Judge(const Call& call, const Result<http::Response>& response,
                      http::Failure failure) const;
  // Shows a failure and the coming pause in the step's log.
  void LogRetry(const Error& error, std::chrono::milliseconds delay) const;

 private:
  std::string UrlOf(const Call& call) const;
  // Whether a URL is the endpoint's own.
  bool IsOurs(const std::string& url) const;
  // "repository:<mirror's path>/<repository>".
  std::string ScopeResource() const;
  size_t SchemeIndex() const;
  void RememberScheme(size_t index);
  bool WrongScheme(const Result<http::Response>& response, http::Failure failure) const;
  Result<http::Response> SendAuthorized(const Call& call, http::Failure& failure);
  Result<http::Response> SendOnce(const http::Request& request, const Call& call,
                                  http::Failure& failure);
  AuthAttempt NewAttempt(const Call& call) const;
  http::Request NewRequest(const Call& call) const;

  Registry& registry_;
  Endpoint endpoint_;
  progress::Activity activity_;
  std::string repository_;
  Purpose purpose_;
  std::string scheme_;
};

}  // namespace kiln::registry
