#include "ops/source_op.h"

#include <gtest/gtest.h>

namespace kiln::ops {
namespace {

using source::Material;

TEST(MaterialsTest, RoundTrip) {
  EXPECT_TRUE(DecodeMaterials("")->empty());
  std::vector<Material> materials = {
      {.kind = Material::Kind::kImage,
       .name = "docker.io/library/alpine:3",
       .digest = "sha256:00",
       .platform = oci::Platform{.os = "linux", .architecture = "arm", .variant = "v7"}},
      {.kind = Material::Kind::kLocal, .name = "context"}};
  auto again = DecodeMaterials(EncodeMaterials(materials));
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  ASSERT_EQ(again->size(), 2U);
  EXPECT_EQ((*again)[0].name, materials[0].name);
  EXPECT_EQ((*again)[0].platform, materials[0].platform);
  EXPECT_EQ((*again)[1].kind, Material::Kind::kLocal);
  EXPECT_FALSE((*again)[1].platform.has_value());
  EXPECT_FALSE(DecodeMaterials("{}").ok());
  EXPECT_FALSE(DecodeMaterials(R"([{"kind":"x"}])").ok());
}

}  // namespace
}  // namespace kiln::ops
