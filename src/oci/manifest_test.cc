#include "oci/manifest.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "oci/json.h"
#include "oci/layout.h"
#include "oci/media_type.h"

namespace kiln::oci {
namespace {

constexpr char kHexA[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

Descriptor D(std::string_view media_type, std::string_view content) {
  Descriptor descriptor;
  descriptor.media_type = media_type;
  descriptor.digest = Sha256Of(content);
  descriptor.size = static_cast<int64_t>(content.size());
  return descriptor;
}

TEST(JsonTest, EscapesLikeGo) {
  std::string out;
  AppendGoJsonString(out, "a<b>&\"\\\n\t\x01\x7f\xe2\x80\xa8é\xff");
  EXPECT_EQ(out, "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\t\\u0001\x7f\\u2028é\\ufffd\"");
}

TEST(JsonTest, LimitsSizeAndDepth) {
  EXPECT_FALSE(ParseJson(std::string(100, '['), "x", {.max_bytes = 50}).ok());
  const std::string deep(100000, '[');
  auto result = ParseJson(deep, "thing");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().ToString(), "thing is nested deeper than 64 levels");
  EXPECT_TRUE(ParseJson(R"({"a":"[[[[[[["})", "x", {.max_depth = 2}).ok());
  EXPECT_FALSE(ParseJson("{", "x").ok());
}

TEST(JsonTest, IndentsLikeMarshalIndent) {
  JsonWriter writer(2);
  writer.BeginObject().Key("a").BeginArray().Int(1).Int(2).EndArray();
  writer.Key("b").BeginObject().EndObject().Key("c").BeginArray().EndArray().EndObject();
  EXPECT_EQ(writer.Take(), "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {},\n  \"c\": []\n}");
}

TEST(ManifestTest, RoundTripsAndIsStable) {
  Manifest manifest;
  manifest.media_type = kOciManifest;
  manifest.config = D(kOciConfig, "config");
  manifest.layers = {D(kOciLayerGzip, "one"), D(kOciLayerZstd, "two")};
  manifest.layers[0].annotations["a<b"] = "c&d";
  manifest.layers[1].urls = {"https://example.com/x"};
  manifest.annotations["k"] = "v";
  const std::string text = Encode(manifest);
  EXPECT_TRUE(
      text.starts_with("{\n  \"schemaVersion\": 2,\n  \"mediaType\": "
                       "\"application/vnd.oci.image.manifest.v1+json\",\n"));
  EXPECT_NE(text.find("\"a\\u003cb\": \"c\\u0026d\""), std::string::npos);
  auto again = DecodeManifest(text);
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ(*again, manifest);
  EXPECT_EQ(Encode(*again), text);
}

TEST(ManifestTest, IndexRoundTrips) {
  Index index;
  index.media_type = kDockerIndex;
  index.manifests = {D(kDockerManifest, "m")};
  index.manifests[0].platform = Platform{.os = "linux", .architecture = "arm", .variant = "v7"};
  index.subject = D(kOciManifest, "s");
  const std::string text = Encode(index);
  auto again = DecodeIndex(text);
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ(*again, index);
  EXPECT_EQ(*DetectManifestMediaType(text), kDockerIndex);
}

std::string ErrorOf(const std::string& json) {
  auto manifest = DecodeManifest(json);
  return manifest.ok() ? "" : manifest.error().ToString();
}

TEST(ManifestTest, RefusesHostileDocuments) {
  const std::string config =
      std::string(R"("config":{"mediaType":"x","digest":"sha256:)") + kHexA + R"(","size":1})";
  EXPECT_EQ(ErrorOf("{" + config + "}"), "");
  EXPECT_EQ(ErrorOf("{}"), "image manifest: no config");
  EXPECT_EQ(ErrorOf("[]"), "image manifest must be a JSON object");
  EXPECT_EQ(ErrorOf("{" + config + R"(,"layers":{}})"),
            "image manifest: field \"layers\" must be an array");
  EXPECT_EQ(ErrorOf("{" + config + R"(,"layers":[{"size":1}]})"),
            "image manifest: layers[0]: no digest");
  EXPECT_EQ(
      ErrorOf("{" + config + R"(,"layers":[{"digest":"sha256:)" + kHexA + R"(","size":-1}]})"),
      "image manifest: layers[0]: negative size -1");
  EXPECT_NE(ErrorOf("{" + config + R"(,"layers":[{"digest":"sha256:..","size":1}]})"), "");
  EXPECT_NE(ErrorOf("{" + config + R"(,"layers":[{"digest":"sha256:)" + kHexA +
                    R"(","size":99999999999999999999}]})"),
            "");
  EXPECT_NE(ErrorOf("{" + config + R"(,"manifests":[]})"), "");
  EXPECT_NE(ErrorOf(R"({"schemaVersion":1,"fsLayers":[]})").find("schema 1 has been removed"),
            std::string::npos);
  EXPECT_NE(ErrorOf(std::string(5 << 20, ' ')), "");
}

TEST(ManifestTest, DetectsByShape) {
  EXPECT_EQ(*DetectManifestMediaType(R"({"manifests":[]})"), kOciIndex);
  EXPECT_EQ(*DetectManifestMediaType(R"({"config":{}})"), kOciManifest);
  EXPECT_FALSE(DetectManifestMediaType("{}").ok());
  EXPECT_FALSE(DetectManifestMediaType(R"({"mediaType":"text/plain"})").ok());
  EXPECT_FALSE(DetectManifestMediaType(R"({"manifests":[],"layers":[]})").ok());
}

TEST(MediaTypeTest, ConvertsBothWays) {
  for (const Compression compression :
       {Compression::kNone, Compression::kGzip, Compression::kZstd}) {
    const std::string_view oci = LayerMediaType(compression, true);
    const std::string_view docker = LayerMediaType(compression, false);
    EXPECT_EQ(ToDocker(oci), docker);
    EXPECT_EQ(ToOci(docker), oci);
    EXPECT_EQ(LayerCompression(docker), compression);
    EXPECT_EQ(ToDistributable(LayerMediaType(compression, true, true)), oci);
  }
  EXPECT_EQ(ToOci(kDockerIndex), kOciIndex);
  EXPECT_EQ(ToOci("application/x"), "application/x");
  EXPECT_TRUE(IsManifest("application/vnd.oci.image.manifest.v1+json; charset=utf-8"));
  EXPECT_EQ(LayerCompression("application/json"), std::nullopt);
  EXPECT_EQ(ToDistributable("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            kDockerLayerGzip);
}

TEST(LayoutTest, ReplacesTagsInIndex) {
  Index index;
  PutInLayout(index, D(kOciManifest, "1"), "latest");
  PutInLayout(index, D(kOciManifest, "2"), "v2");
  PutInLayout(index, D(kOciManifest, "3"), "latest");
  ASSERT_EQ(index.manifests.size(), 2U);
  EXPECT_EQ(FindInLayout(index, "latest")->digest, Sha256Of("3"));
  EXPECT_EQ(FindInLayout(index, Sha256Of("2").ToString())->digest, Sha256Of("2"));
  EXPECT_FALSE(FindInLayout(index, "").has_value());
  EXPECT_FALSE(FindInLayout(index, "v1").has_value());
  EXPECT_TRUE(CheckLayoutMarker(EncodeLayoutMarker()).ok());
  EXPECT_FALSE(CheckLayoutMarker(R"({"imageLayoutVersion":"2.0.0"})").ok());
  EXPECT_EQ(*DecodeIndex(EncodeLayoutIndex(index)), [&] {
    Index expected = index;
    expected.media_type = kOciIndex;
    return expected;
  }());
}

}  // namespace
}  // namespace kiln::oci
