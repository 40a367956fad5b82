#include "build/result.h"

#include <nlohmann/json.hpp>

#include "base/strings.h"

namespace kiln::build {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxPlatforms = 1000;

std::string TextOf(const Json& object, const char* name) {
  auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

Result<oci::Platform> DecodePlatform(const Json& object) {
  oci::Platform platform;
  platform.os = TextOf(object, "os");
  platform.architecture = TextOf(object, "architecture");
  platform.variant = TextOf(object, "variant");
  platform.os_version = TextOf(object, "os.version");
  if (auto features = object.find("os.features");
      features != object.end() && features->is_array()) {
    for (const auto& feature : *features) {
      if (feature.is_string()) platform.os_features.push_back(feature.get<std::string>());
    }
  }
  if (platform.os.empty() || platform.architecture.empty()) {
    return InvalidArgument("platforms mapping has a platform without os or architecture");
  }
  return platform;
}

Result<std::vector<ResultPlatform>> DecodePlatforms(const std::string& text) {
  Json document = Json::parse(text, nullptr, false);
  if (!document.is_object())
    return InvalidArgument("failed to parse platforms passed to exporter: not JSON");
  auto list = document.find("Platforms");
  if (list == document.end() || !list->is_array() || list->empty()) {
    return InvalidArgument("invalid empty platforms index for exporter");
  }
  if (list->size() > kMaxPlatforms)
    return InvalidArgument("too many platforms for exporter: {}", list->size());
  std::vector<ResultPlatform> platforms;
  for (const auto& item : *list) {
    ResultPlatform platform;
    platform.id = item.is_object() ? TextOf(item, "ID") : "";
    if (platform.id.empty()) return InvalidArgument("invalid empty platform key for exporter");
    TRY_ASSIGN(platform.platform, DecodePlatform(item.value("Platform", Json::object())));
    platforms.push_back(std::move(platform));
  }
  return platforms;
}

// os and architecture of an image config, or nothing.
std::optional<oci::Platform> PlatformOfConfig(const std::string& config) {
  Json document = Json::parse(config, nullptr, false);
  if (!document.is_object()) return std::nullopt;
  auto platform = DecodePlatform(document);
  return platform.ok() ? std::optional(std::move(*platform)) : std::nullopt;
}

}  // namespace

std::vector<ReferencePtr> BuildResult::AllReferences() const {
  std::vector<ReferencePtr> all;
  auto add = [&](const ReferencePtr& reference) {
    if (reference) all.push_back(reference);
  };
  add(ref);
  for (const auto& [key, reference] : refs) add(reference);
  for (const auto& [key, list] : attestations) {
    for (const auto& attestation : list) add(attestation.ref);
  }
  return all;
}

ReferencePtr BuildResult::Find(const std::string& key) const {
  if (!is_map) return ref;
  if (auto it = refs.find(key); it != refs.end()) return it->second;
  return refs.size() == 1 ? refs.begin()->second : nullptr;
}

Result<std::vector<ResultPlatform>> PlatformsOf(const BuildResult& result) {
  if (auto it = result.metadata.find(std::string(kPlatformsKey)); it != result.metadata.end()) {
    return DecodePlatforms(it->second);
  }
  if (result.is_map && result.refs.size() > 1) {
    return InvalidArgument("build result contains multiple refs without platforms mapping");
  }
  oci::Platform platform = oci::HostPlatform();
  if (auto it = result.metadata.find(std::string(kImageConfigKey)); it != result.metadata.end()) {
    if (auto found = PlatformOfConfig(it->second)) platform = *found;
  }
  platform = oci::Normalize(platform);
  return std::vector<ResultPlatform>{{oci::FormatAll(platform), platform}};
}

std::string EncodePlatforms(const std::vector<ResultPlatform>& platforms) {
  Json list = Json::array();
  for (const auto& [id, platform] : platforms) {
    Json object = {{"architecture", platform.architecture}, {"os", platform.os}};
    if (!platform.variant.empty()) object["variant"] = platform.variant;
    if (!platform.os_version.empty()) object["os.version"] = platform.os_version;
    if (!platform.os_features.empty()) object["os.features"] = platform.os_features;
    list.push_back({{"ID", id}, {"Platform", std::move(object)}});
  }
  return Json{{"Platforms", std::move(list)}}.dump();
}

const std::string* FindMetadata(const BuildResult& result, std::string_view key,
                                const std::string& platform_id) {
  std::string name(key);
  auto it = result.metadata.find(name + "/" + platform_id);
  if (it == result.metadata.end() && (!result.is_map || result.refs.size() <= 1))
    it = result.metadata.find(name);
  return it == result.metadata.end() ? nullptr : &it->second;
}

}  // namespace kiln::build
