#pragma once

// Inside registry only: what resolve, fetch and push share.

#include <functional>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"
#include "http/message.h"
#include "registry/exchange.h"

namespace kiln::registry {

inline constexpr std::string_view kAcceptManifests =
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";

// `unexpected commit digest X, expected Y: failed precondition`.
Error WrongDigest(const Digest& got, const Digest& expected);
Error WrongSize(uint64_t got, int64_t expected);
// Whether an error is one of these.
bool IsWrongContent(const Error& error);
// "docker.io/library/alpine:3 from registry-1.docker.io": a context for them.
std::string From(const Endpoint& endpoint, std::string_view name);

// The words that users and tests know for a refusal.
Error AccessDenied(Purpose purpose, Error error);
bool IsDenied(const Error& error);
// The same from a 401 or 403 answer.
Error AccessDenied(Purpose purpose, std::string_view method, const http::Response& response);

// Tries `at` at each endpoint in turn, with retries only at the last one. The first error that says
// more than "not found" counts; cancellation ends it.
template <typename T>
Result<T> AtAny(const progress::Activity& activity, const std::vector<Endpoint>& endpoints,
                const std::function<Result<T>(const Endpoint&, bool last)>& at) {
  std::optional<Error> first;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    Result<T> result = at(endpoints[i], i + 1 == endpoints.size());
    if (result.ok()) return result;
    TRY(activity.Check());
    if (!first || first->code() == Code::kNotFound) first = std::move(result).error();
  }
  return *std::move(first);
}

}  // namespace kiln::registry
