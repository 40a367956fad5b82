#include "exporter/attributes.h"

#include <re2/re2.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/strings.h"

namespace kiln::exporter {
namespace {

// Read by clients or of older versions: accepted and without effect here.
constexpr std::string_view kIgnored[] = {"dest", "context", "prefer-image-digest", "buildinfo",
                                         "buildinfo-attrs"};

constexpr int kOciTypesSince = 30;
constexpr int kLastWithoutZstd = 10;
constexpr std::string_view kFeatureDetailType =
    "github.com/moby/buildkit/errdefs.CompatibilityFeature+json";

std::optional<std::string> Take(std::map<std::string, std::string>& attrs, const std::string& key) {
  auto node = attrs.extract(key);
  return node ? std::optional(std::move(node.mapped())) : std::nullopt;
}

Error Unsupported(int version, const std::string& feature) {
  Error error = Unknown("unsupported compatibility-version {} feature {}", version, feature);
  nlohmann::json detail = {{"version", version}, {"feature", feature}};
  error.AddDetail({std::string(kFeatureDetailType), detail.dump()});
  return error;
}

Status ParseCompression(std::map<std::string, std::string>& attrs, ImageAttributes& image) {
  auto& compression = image.layers.compression;
  if (auto type = Take(attrs, "compression"); type && !type->empty()) {
    if (*type == "estargz") return Unimplemented("compression type estargz is not served");
    TRY_ASSIGN(compression.type, archive::ParseCompression(*type));
  }
  if (auto level = Take(attrs, "compression-level")) {
    auto number = ParseInt(*level);
    int64_t limit = compression.type == archive::Compression::kZstd ? 22 : 9;
    if (!number || *number < 0 || *number > limit) {
      return InvalidArgument("invalid value {} specified for compression-level", Quoted(*level));
    }
    compression.level = static_cast<int>(*number);
  }
  TRY_ASSIGN(image.layers.force, TakeBool(attrs, "force-compression", false, true));
  return OkStatus();
}

}  // namespace

Result<bool> TakeBool(std::map<std::string, std::string>& attrs, const std::string& key,
                      bool fallback, std::optional<bool> empty) {
  auto text = Take(attrs, key);
  if (!text) return fallback;
  if (text->empty() && empty) return *empty;
  auto value = ParseBool(*text);
  if (!value) return InvalidArgument("non-bool value specified for {}: {}", key, Quoted(*text));
  return *value;
}

Result<std::optional<std::optional<int64_t>>> TakeEpoch(std::map<std::string, std::string>& attrs) {
  using Epoch = std::optional<int64_t>;
  auto text = Take(attrs, "source-date-epoch");
  if (!text) return std::optional<Epoch>();
  if (text->empty()) return std::optional<Epoch>(Epoch());
  auto seconds = ParseInt(*text);
  if (!seconds) return InvalidArgument("invalid source-date-epoch {}", Quoted(*text));
  return std::optional<Epoch>(std::in_place, seconds);
}

Result<std::optional<int64_t>> EffectiveEpoch(
    const std::optional<std::optional<int64_t>>& attribute, const build::BuildResult& result,
    const std::string& platform_id) {
  if (attribute) return *attribute;
  const std::string* text = build::FindMetadata(result, "source.date.epoch", platform_id);
  if (text == nullptr || text->empty()) return std::optional<int64_t>();
  auto seconds = ParseInt(*text);
  if (!seconds) return InvalidArgument("invalid SOURCE_DATE_EPOCH {}", Quoted(*text));
  return seconds;
}

Result<std::optional<Annotation>> ParseAnnotation(const std::string& name,
                                                  const std::string& value) {
  static const RE2 kPattern(R"(annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+))");
  std::string target, platform, key;
  if (!RE2::FullMatch(name, kPattern, &target, &platform, &key)) return std::optional<Annotation>();
  Annotation annotation;
  if (target == "manifest-descriptor") {
    annotation.target = Annotation::Target::kManifestDescriptor;
  } else if (target == "index") {
    annotation.target = Annotation::Target::kIndex;
  } else if (target == "index-descriptor") {
    annotation.target = Annotation::Target::kIndexDescriptor;
  } else if (!target.empty() && target != "manifest") {
    return InvalidArgument("unrecognized annotation type {}", target);
  }
  if (!platform.empty()) {
    TRY_ASSIGN(annotation.platform, oci::ParsePlatform(platform));
  }
  annotation.key = key;
  annotation.value = value;
  return std::optional(std::move(annotation));
}

Result<ImageAttributes> ParseImageAttributes(const Request& request,
                                             std::map<std::string, std::string>& attrs,
                                             const std::vector<std::string_view>& own) {
  ImageAttributes image;
  if (auto name = Take(attrs, "name"); name && !name->empty()) {
    image.name_from_metadata = *name == "*";
    if (!image.name_from_metadata) {
      for (auto part : Split(*name, ',')) {
        if (!Trim(part).empty()) image.names.emplace_back(Trim(part));
      }
    }
  }
  TRY_ASSIGN(image.oci_types,
             TakeBool(attrs, "oci-mediatypes",
                      request.type == "oci" || request.compatibility_version >= kOciTypesSince,
                      std::nullopt));
  TRY_ASSIGN(image.prefer_nondistributable,
             TakeBool(attrs, "prefer-nondist-layers", false, std::nullopt));
  TRY_ASSIGN(bool artifact, TakeBool(attrs, "oci-artifact", image.oci_types, std::nullopt));
  if (artifact && !image.oci_types) {
    return InvalidArgument(
        "exporter option \"oci-artifact=true\" conflicts with \"oci-mediatypes=false\"");
  }
  TRY(TakeBool(attrs, "attestation-inline", true, std::nullopt));
  TRY(ParseCompression(attrs, image));
  if (image.layers.compression.type == archive::Compression::kZstd &&
      request.compatibility_version <= kLastWithoutZstd)
    return Unsupported(request.compatibility_version, request.type + " exporter compression=zstd");
  TRY_ASSIGN(image.rewrite_timestamp, TakeBool(attrs, "rewrite-timestamp", false, std::nullopt));
  TRY_ASSIGN(image.epoch_seconds, TakeEpoch(attrs));
  for (auto it = attrs.begin(); it != attrs.end();) {
    const auto& [key, value] = *it;
    if (std::find(own.begin(), own.end(), key) != own.end()) {
      ++it;
      continue;
    }
    TRY_ASSIGN(auto annotation, ParseAnnotation(key, value));
    if (annotation) {
      if (!image.oci_types && annotation->target != Annotation::Target::kManifest) {
        return InvalidArgument("cannot export annotations with \"oci-mediatypes=false\"");
      }
      image.annotations.push_back(std::move(*annotation));
    } else if (std::find(std::begin(kIgnored), std::end(kIgnored), key) == std::end(kIgnored)) {
      image.metadata[key] = value;
    }
    it = attrs.erase(it);
  }
  return image;
}

}  // namespace kiln::exporter
