#include "oci/reference.h"

#include <gtest/gtest.h>

namespace kiln::oci {
namespace {

constexpr char kHex[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

std::string Normal(std::string_view text) {
  auto reference = Reference::ParseNormalized(text);
  return reference.ok() ? reference->ToString() : "error: " + reference.error().ToString();
}

TEST(ReferenceTest, NormalizesFamiliarNames) {
  EXPECT_EQ(Normal("alpine"), "docker.io/library/alpine");
  EXPECT_EQ(Normal("alpine:3.20"), "docker.io/library/alpine:3.20");
  EXPECT_EQ(Normal("me/app"), "docker.io/me/app");
  EXPECT_EQ(Normal("docker.io/alpine"), "docker.io/library/alpine");
  EXPECT_EQ(Normal("index.docker.io/library/alpine"), "docker.io/library/alpine");
  EXPECT_EQ(Normal("localhost/app"), "localhost/app");
  EXPECT_EQ(Normal("localhost:5000/app:1"), "localhost:5000/app:1");
  EXPECT_EQ(Normal("[::1]:5000/app"), "[::1]:5000/app");
  EXPECT_EQ(Normal("ghcr.io/a/b/c__d-e.f"), "ghcr.io/a/b/c__d-e.f");
  EXPECT_EQ(Normal(std::string("a:t@sha256:") + kHex),
            std::string("docker.io/library/a:t@sha256:") + kHex);
}

TEST(ReferenceTest, RefusesWhatDockerRefuses) {
  for (const char* text :
       {"", "Alpine", "a//b", "a:", ":tag", "a@", "a@sha256:12", "-a", "a-", "a___b", "a..b",
        "https://x/y", "x.y/", "a:t:u", "reg:port/a", "a b", "a@sha512:00"}) {
    EXPECT_TRUE(Normal(text).starts_with("error: ")) << text << " → " << Normal(text);
  }
  EXPECT_EQ(Normal("Alpine"),
            "error: invalid reference format: repository name (library/Alpine) must be lowercase");
  EXPECT_EQ(Normal(kHex), std::string("error: invalid repository name (") + kHex +
                              "), cannot specify 64-byte hexadecimal strings");
  EXPECT_EQ(Normal(std::string(300, 'a')),
            "error: repository name must not be more than 255 characters");
}

TEST(ReferenceTest, PrintsFamiliarNames) {
  EXPECT_EQ(Reference::ParseNormalized("docker.io/library/alpine:3")->Familiar(), "alpine:3");
  EXPECT_EQ(Reference::ParseNormalized("docker.io/me/app")->Familiar(), "me/app");
  EXPECT_EQ(Reference::ParseNormalized("ghcr.io/me/app")->Familiar(), "ghcr.io/me/app");
}

TEST(ReferenceTest, FamiliarNamesMeanTheSame) {
  for (const std::string& text :
       {std::string("docker.io/localhost/app:1"), std::string("docker.io/ghcr.io/app"),
        std::string("docker.io/library/") + kHex, std::string("docker.io/library/distros/alpine:3"),
        std::string("docker.io/library/library"), std::string("a:t@sha256:") + kHex,
        std::string("localhost:5000/library/a")}) {
    const auto reference = Reference::ParseNormalized(text);
    ASSERT_TRUE(reference.ok()) << text;
    EXPECT_EQ(Normal(reference->Familiar()), reference->ToString()) << reference->Familiar();
  }
  EXPECT_EQ(Reference::ParseNormalized("docker.io/localhost/app")->Familiar(),
            "docker.io/localhost/app");
}

TEST(ReferenceTest, ObjectIsDigestThenTagThenLatest) {
  EXPECT_EQ(Reference::ParseNormalized("a")->object(), "latest");
  EXPECT_EQ(Reference::ParseNormalized("a:b")->object(), "b");
  EXPECT_EQ(Reference::ParseNormalized(std::string("a:b@sha256:") + kHex)->object(),
            std::string("sha256:") + kHex);
  EXPECT_EQ(Reference::ParseNormalized("a")->WithDefaultTag().ToString(),
            "docker.io/library/a:latest");
  EXPECT_FALSE(Reference::ParseNormalized("a")->WithTag("-x").ok());
}

TEST(ReferenceTest, IdentifiersAreFullyQualified) {
  EXPECT_TRUE(Reference::ParseIdentifier("docker.io/library/alpine:3").ok());
  EXPECT_FALSE(Reference::ParseIdentifier("docker.io/library/alpine").ok());
  EXPECT_FALSE(Reference::ParseIdentifier("library/alpine:3").ok());
  EXPECT_FALSE(Reference::ParseIdentifier("alpine:3").ok());
}

}  // namespace
}  // namespace kiln::oci
