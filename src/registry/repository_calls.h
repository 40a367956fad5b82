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

// What is told of endpoints of which none had it: the first error that says more than "not found",
// so that nothing counts as gone while somebody could not be asked.
class FirstError {
 public:
  void Add(const Endpoint& /*endpoint*/, Error error) {
    if (!told_ || told_->code() == Code::kNotFound) told_ = std::move(error);
  }
  Error Take() { return *std::move(told_); }

 private:
  std::optional<Error> told_;
};

// The same for names, as upstream: "not found" says more than that nobody answered, and then names
// who did not; any other answer says more.
class NameError {
 public:
  void Add(const Endpoint& endpoint, Error error);
  Error Take();

 private:
  enum class Rank { kNoAnswer, kNotFound, kAnswer };
  static Rank RankOf(const Error& error);

  std::optional<Error> told_;
  std::string silent_;  // "HOST: why" of the first that did not answer
};

// Tries `at` at each endpoint in turn, with retries only at the last one. Cancellation ends it.
template <typename T, typename Errors = FirstError>
Result<T> AtAny(const progress::Activity& activity, const std::vector<Endpoint>& endpoints,
                const std::function<Result<T>(const Endpoint&, bool last)>& at) {
  Errors errors;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    Result<T> result = at(endpoints[i], i + 1 == endpoints.size());
    if (result.ok()) return result;
    TRY(activity.Check());
    errors.Add(endpoints[i], std::move(result).error());
  }
  return errors.Take();
}

}  // namespace kiln::registry
