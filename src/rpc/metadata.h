#pragma once

#include <grpcpp/support/string_ref.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kiln::rpc {

using MetadataMap = std::multimap<grpc::string_ref, grpc::string_ref>;
using MetadataList = std::vector<std::pair<std::string, std::string>>;

// Keys are lower case on the wire.
inline constexpr char kBuildIdKey[] = "buildkit-controlapi-buildid";
inline constexpr char kTimestampKey[] = "buildkit-current-timestamp";
inline constexpr char kSessionIdKey[] = "x-docker-expose-session-uuid";
inline constexpr char kSessionSharedKey[] = "x-docker-expose-session-sharedkey";
inline constexpr char kSessionMethodKey[] = "x-docker-expose-session-grpc-method";
inline constexpr char kSessionHealthKey[] = "x-buildkit-session-health-custom-timeout";
inline constexpr char kDirNameKey[] = "dir-name";
inline constexpr char kIncludeKey[] = "include-patterns";
inline constexpr char kExcludeKey[] = "exclude-patterns";
inline constexpr char kFollowKey[] = "followpaths";
inline constexpr char kExporterIdKey[] = "buildkit-attachable-exporter-id";
inline constexpr char kExporterMetadataPrefix[] = "exporter-md-";
inline constexpr char kMultiPlatformKey[] = "buildkit-exporter-multi-platform";
inline constexpr char kStoreIdKey[] = "buildkit-attachable-store-id";
inline constexpr char kSshIdKey[] = "buildkit.ssh.id";
inline constexpr char kUrlPathKey[] = "urlpath";
inline constexpr char kUrlHostKey[] = "urlhost";

std::vector<std::string> MetadataValues(const MetadataMap& metadata, std::string_view key);
std::optional<std::string> MetadataValue(const MetadataMap& metadata, std::string_view key);

// Adds one entry per value. If any value holds bytes that a header cannot carry, all values of the
// key are form-url-encoded and "<key>-encoded: 1" says so.
void AppendEncoded(std::string_view key, const std::vector<std::string>& values, MetadataList* out);
// The reverse, for one key. Bad escapes are an error.
Result<std::vector<std::string>> DecodeValues(const MetadataMap& metadata, std::string_view key);

}  // namespace kiln::rpc
