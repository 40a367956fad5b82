#include "client/source_policy.h"

#include <google/protobuf/util/json_util.h>
#include <moby/buildkit/v1/sourcepolicy/policy.pb.h>

#include "base/fd.h"
#include "base/strings.h"

namespace kiln::client {
namespace {

constexpr size_t kMaxPolicyBytes = size_t{4} << 20;

}  // namespace

Result<std::string> ReadSourcePolicy(const std::string& path) {
  TRY_ASSIGN_CTX(const std::string text, ReadFile(path, kMaxPolicyBytes),
                 "failed to read source policy");
  moby::buildkit::v1::sourcepolicy::Policy policy;
  if (Trim(text).starts_with('{')) {
    const auto parsed = google::protobuf::util::JsonStringToMessage(text, &policy);
    if (!parsed.ok())
      return InvalidArgument("source policy {}: {}", path, std::string(parsed.message()));
  } else if (!policy.ParseFromString(text)) {
    return InvalidArgument("source policy {}: neither JSON nor a serialized policy", path);
  }
  return policy.SerializeAsString();
}

}  // namespace kiln::client
