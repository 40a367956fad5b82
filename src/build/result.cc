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

oci::Platform DecodePlatform(const Json& object) {
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
  return platform;
}

// As Go prints the struct.
std::string Printed(const oci::Platform& platform) {
  return fmt::format("{{{} {} {} [{}] {}}}", platform.architecture, platform.os,
                     platform.os_version, Join(platform.os_features, " "), platform.variant);
}

Result<std::vector<ResultPlatform>> DecodePlatforms(const std::string& text) {
  const Json document = text.empty() ? Json::object() : Json::parse(text, nullptr, false);
  if (!document.is_object() && !document.is_null()) {
    return Unknown("failed to parse platforms passed to provenance processor: no JSON object");
  }
  const auto list = document.find("Platforms");
  if (list == document.end() || !list->is_array() || list->empty())
    return Unknown("invalid empty platforms index for exporter");
  if (list->size() > kMaxPlatforms)
    return Unknown("too many platforms for exporter: {}", list->size());
  std::vector<ResultPlatform> platforms;
  for (const auto& item : *list) {
    ResultPlatform platform;
    platform.id = item.is_object() ? TextOf(item, "ID") : "";
    if (platform.id.empty()) return Unknown("invalid empty platform key for exporter");
    const auto found = item.find("Platform");
    if (found != item.end() && found->is_object()) platform.platform = DecodePlatform(*found);
    if (platform.platform.os.empty() || platform.platform.architecture.empty())
      return Unknown("invalid platform value {} for exporter", Printed(platform.platform));
    platform.platform = oci::Normalize(std::move(platform.platform));
    platforms.push_back(std::move(platform));
  }
  return platforms;
}

// What an image config says; empty where it says nothing.
Result<oci::Platform> PlatformOfConfig(const std::string& config) {
  const Json document = Json::parse(config, nullptr, false);
  if (document.is_null()) return oci::Platform();
  if (!document.is_object()) return Unknown("invalid image config: no JSON object");
  oci::Platform platform = DecodePlatform(document);
  if (platform.os.empty() != platform.architecture.empty()) {
    return Unknown("invalid image config: os and architecture must be specified together");
  }
  return platform;
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

Result<ReferencePtr> BuildResult::FindExported(const std::string& key) const {
  if (is_map && !refs.contains(key) && refs.size() != 1)
    return Unknown("failed to find ref for ID {}", key);
  return Find(key);
}

Result<std::vector<ResultPlatform>> PlatformsOf(const BuildResult& result) {
  if (auto it = result.metadata.find(std::string(kPlatformsKey)); it != result.metadata.end()) {
    return DecodePlatforms(it->second);
  }
  if (result.is_map) {
    return Unknown("build result contains multiple refs without platforms mapping");
  }
  oci::Platform platform = oci::HostPlatform();
  if (auto it = result.metadata.find(std::string(kImageConfigKey)); it != result.metadata.end()) {
    TRY_ASSIGN(oci::Platform said, PlatformOfConfig(it->second));
    if (!said.empty()) platform = std::move(said);
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
  if (it == result.metadata.end()) it = result.metadata.find(name);
  return it == result.metadata.end() ? nullptr : &it->second;
}

}  // namespace kiln::build
