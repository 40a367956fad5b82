#include "session/client_words.h"

#include <algorithm>

#include "base/strings.h"
#include "base/unix_time.h"

namespace kiln::session {
namespace {

constexpr int64_t kMinHealthMs = 1000;
constexpr int64_t kMaxHealthMs = int64_t{24} * 3600 * 1000;
constexpr int64_t kMaxTokenSeconds = int64_t{365} * 24 * 3600;

// A key that a header cannot carry comes encoded. One that says so and is not is taken as it is, as
// it is compared with others of its client only.
std::string SharedKeyOf(const rpc::MetadataMap& headers) {
  const auto decoded = rpc::DecodeValues(headers, rpc::kSessionSharedKey);
  if (!decoded.ok()) return rpc::MetadataValue(headers, rpc::kSessionSharedKey).value_or("");
  return decoded->empty() ? std::string() : decoded->front();
}

}  // namespace

SessionInfo InfoOf(const rpc::MetadataMap& headers) {
  SessionInfo info;
  info.id = rpc::MetadataValue(headers, rpc::kSessionIdKey).value_or("");
  info.shared_key = SharedKeyOf(headers);
  info.methods = rpc::MetadataValues(headers, rpc::kSessionMethodKey);
  return info;
}

Result<HealthPolicy> HealthOf(const rpc::MetadataMap& headers) {
  HealthPolicy policy;
  const auto custom = rpc::MetadataValue(headers, rpc::kSessionHealthKey);
  if (!custom) return policy;
  const auto ms = ParseInt(*custom);
  if (!ms || *ms < kMinHealthMs)
    return InvalidArgument("bad {}: {}", rpc::kSessionHealthKey, Quoted(*custom));
  policy.interval = policy.timeout = std::chrono::milliseconds(std::min(*ms, kMaxHealthMs));
  policy.failures = 1;
  return policy;
}

ClientToken TokenOf(const moby::filesync::v1::FetchTokenResponse& response) {
  ClientToken token;
  token.token = SecretString(response.token());
  token.expires_in =
      std::chrono::seconds(std::clamp<int64_t>(response.expiresin(), 0, kMaxTokenSeconds));
  if (response.issuedat() != 0) token.issued_at = EventTime(response.issuedat(), 0);
  return token;
}

}  // namespace kiln::session
