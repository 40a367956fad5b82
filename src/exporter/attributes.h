#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "exporter/exporter.h"
#include "oci/platform.h"
#include "store/layer.h"

namespace kiln::exporter {

// Of one result, how many are made ready at once.
inline constexpr size_t kParallelPlatforms = 4;

// One `annotation[-type][[platform]].key` attribute or metadata entry.
struct Annotation {
  enum class Target { kManifest, kManifestDescriptor, kIndex, kIndexDescriptor };
  Target target = Target::kManifest;
  std::optional<oci::Platform> platform;
  std::string key;
  std::string value;
};
// Nullopt if the name is no annotation's; an error if it is a malformed one.
Result<std::optional<Annotation>> ParseAnnotation(const std::string& name,
                                                  const std::string& value);

// What image, oci and docker exporters have in common.
struct ImageAttributes {
  std::vector<std::string> names;   // as given, split at commas
  bool name_from_metadata = false;  // "*"
  bool oci_types = true;
  bool prefer_nondistributable = false;
  bool rewrite_timestamp = false;  // of layers, to the epoch
  store::LayerBlobOptions layers;
  std::vector<Annotation> annotations;
  // Set: overrides the result's; holding nullopt: no epoch at all.
  std::optional<std::optional<int64_t>> epoch_seconds;
  // Attributes nobody knows override result metadata, as upstream has it.
  std::map<std::string, std::string> metadata;
};

// Takes what it knows out of `attrs` and the rest into `metadata`; `own` names the exporter's own
// attributes, left in `attrs`. Older compatibility versions have Docker's media types where nothing
// else is said, but for type oci; the oldest has no zstd: `unsupported compatibility-version 10
// feature TYPE exporter compression=zstd`.
Result<ImageAttributes> ParseImageAttributes(const Request& request,
                                             std::map<std::string, std::string>& attrs,
                                             const std::vector<std::string_view>& own);

// The value of a boolean attribute, which is removed; `empty` is what "" means, nothing: an error.
// `non-bool value specified for k`.
Result<bool> TakeBool(std::map<std::string, std::string>& attrs, const std::string& key,
                      bool fallback, std::optional<bool> empty);
// `source-date-epoch`: removed; an integer, or "" for none.
Result<std::optional<std::optional<int64_t>>> TakeEpoch(std::map<std::string, std::string>& attrs);
// The epoch that counts for an export: the attribute's, else metadata `source.date.epoch`.
Result<std::optional<int64_t>> EffectiveEpoch(
    const std::optional<std::optional<int64_t>>& attribute, const build::BuildResult& result,
    const std::string& platform_id);

}  // namespace kiln::exporter
