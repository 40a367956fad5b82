#include "exporter/exporter.h"

#include <gtest/gtest.h>

#include "exporter/attributes.h"
#include "exporter/image_config.h"
#include "exporter/tree_exporter.h"
#include "exporter/verify_platforms.h"

namespace kiln::exporter {
namespace {

using Texts = std::vector<std::string>;

// A result of these platforms, whose references are nobody's.
build::BuildResult ResultOf(const Texts& platforms, bool is_map = true) {
  build::BuildResult result;
  std::vector<build::ResultPlatform> list;
  for (const std::string& text : platforms) {
    list.push_back({text, oci::Normalize(*oci::ParsePlatform(text))});
    if (is_map) result.refs[text] = nullptr;
  }
  result.is_map = is_map;
  result.metadata[std::string(build::kPlatformsKey)] = build::EncodePlatforms(list);
  return result;
}

TEST(ExporterTest, WarnsOfOtherPlatformsThanAskedFor) {
  struct Case {
    std::string asked;
    build::BuildResult result;
    Texts want;
  };
  const Case kCases[] = {
      {"linux/amd64", ResultOf({"linux/amd64"}), {}},
      {"linux/amd64,linux/arm64", ResultOf({"linux/arm64", "linux/amd64"}), {}},
      {"windows/amd64", ResultOf({"windows(10.0.1)/amd64"}), {}},
      {"linux/arm64",
       ResultOf({"linux/amd64"}),
       {"Requested platform \"linux/arm64\" does not match result platform \"linux/amd64\""}},
      {"linux/amd64,linux/arm64",
       ResultOf({"linux/amd64"}, false),
       {"Multiple platforms requested but result is not multi-platform"}},
      {"linux/amd64,linux/arm64",
       ResultOf({"linux/amd64"}),
       {"Requested platforms linux/amd64,linux/arm64 do not match result platforms linux/amd64"}},
      {"linux/amd64,linux/arm64",
       ResultOf({"linux/amd64", "linux/s390x"}),
       {"Requested platforms linux/amd64,linux/arm64 do not match result platforms "
        "linux/amd64,linux/s390x"}},
      {"linux/amd64,linux/x86_64",
       ResultOf({"linux/amd64"}),
       {"Duplicate platform result requested \"linux/x86_64\""}},
      {"linux/arm64", {}, {}},
  };
  for (const auto& [asked, result, want] : kCases) {
    const auto warnings = PlatformWarnings(asked, result);
    ASSERT_TRUE(warnings.ok()) << asked << ": " << warnings.error().ToString();
    EXPECT_EQ(*warnings, want) << asked;
  }
}

TEST(ExporterTest, ResultsThatCannotBeExportedAreNamed) {
  const auto error = [](const std::string& key, const std::string& value, bool is_map = false) {
    build::BuildResult result;
    if (!key.empty()) result.metadata[key] = value;
    result.is_map = is_map;
    if (is_map) result.refs["linux/amd64"] = nullptr;
    const auto platforms = build::PlatformsOf(result);
    return platforms.ok() ? "" : platforms.error().ToString();
  };
  const std::string kKey(build::kPlatformsKey);
  EXPECT_EQ(error("", "", true), "build result contains multiple refs without platforms mapping");
  for (const char* empty : {"", "{}", "null", R"({"Platforms":[]})", R"({"Platforms":null})"})
    EXPECT_EQ(error(kKey, empty), "invalid empty platforms index for exporter") << empty;
  EXPECT_EQ(error(kKey, "["),
            "failed to parse platforms passed to provenance processor: no JSON object");
  EXPECT_EQ(error(kKey, R"({"Platforms":[{"ID":"","Platform":{"os":"linux"}}]})"),
            "invalid empty platform key for exporter");
  EXPECT_EQ(error(kKey, R"({"Platforms":[{"ID":"x","Platform":{"os":"linux"}}]})"),
            "invalid platform value { linux  [] } for exporter");
  const std::string kConfig(build::kImageConfigKey);
  EXPECT_EQ(error(kConfig, R"({"os":"linux"})"),
            "invalid image config: os and architecture must be specified together");
  EXPECT_EQ(error(kConfig, "null"), "");
  EXPECT_EQ(MakeImageConfig("null", oci::HostPlatform(), {}, "", {}).error().ToString(),
            "invalid null image config for export");
  const auto missing = ResultOf({"linux/amd64", "linux/arm64"}).FindExported("linux/386");
  EXPECT_EQ(missing.error().ToString(), "failed to find ref for ID linux/386");
}

// On every client's system: for some a backslash divides paths and a colon ends a drive's name.
TEST(ExporterTest, ThePlatformsFolderIsOneName) {
  EXPECT_EQ(PlatformFolderName("linux/arm/v7"), "linux_arm_v7");
  EXPECT_EQ(PlatformFolderName("windows(10.0.17763.1)/amd64"), "windows(10.0.17763.1)_amd64");
  EXPECT_EQ(PlatformFolderName("a\\b"), "a_b");
  EXPECT_EQ(PlatformFolderName("c:d"), "c_d");
  EXPECT_EQ(PlatformFolderName("."), "_");
  EXPECT_EQ(PlatformFolderName(".."), "__");
}

TEST(ExporterTest, OlderCompatibilityHasWhatItHad) {
  const auto parse = [](const char* type, int version, std::map<std::string, std::string> attrs) {
    Request request{type, attrs, version};
    return ParseImageAttributes(request, attrs, {});
  };
  EXPECT_TRUE(parse("image", 30, {})->oci_types);
  EXPECT_FALSE(parse("image", 20, {})->oci_types);
  EXPECT_FALSE(parse("docker", 10, {})->oci_types);
  EXPECT_TRUE(parse("oci", 10, {})->oci_types);
  EXPECT_TRUE(parse("image", 10, {{"oci-mediatypes", "true"}})->oci_types);
  EXPECT_TRUE(parse("image", 20, {{"compression", "zstd"}}).ok());
  const auto refused = parse("image", 10, {{"compression", "zstd"}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().ToString(),
            "unsupported compatibility-version 10 feature image exporter compression=zstd");
  EXPECT_NE(
      refused.error().FindDetail("github.com/moby/buildkit/errdefs.CompatibilityFeature+json"),
      nullptr);
}

}  // namespace
}  // namespace kiln::exporter
