#include "oci/platform.h"

#include <gtest/gtest.h>

namespace kiln::oci {
namespace {

Platform P(std::string_view text) {
  auto platform = ParsePlatform(text);
  EXPECT_TRUE(platform.ok()) << text << ": " << (platform.ok() ? "" : platform.error().ToString());
  return platform.ok() ? *platform : Platform();
}

TEST(PlatformTest, ParsesAndFormats) {
  EXPECT_EQ(Format(P("linux/amd64")), "linux/amd64");
  EXPECT_EQ(Format(P("linux/arm64/v8")), "linux/arm64/v8");
  EXPECT_EQ(Format(P("linux/arm64")), "linux/arm64");
  EXPECT_EQ(Format(P("linux/arm/v7")), "linux/arm/v7");
  EXPECT_EQ(Format(P("linux/arm")), "linux/arm");
  EXPECT_EQ(Format(P("linux/aarch64")), "linux/arm64");
  EXPECT_EQ(Format(P("linux/x86_64")), "linux/amd64");
  EXPECT_EQ(Format(P("arm64")), "linux/arm64");
  EXPECT_EQ(P("linux").architecture, HostPlatform().architecture);
  EXPECT_EQ(FormatAll(P("windows(10.0.17763.1+b+a)/amd64")), "windows(10.0.17763.1+a+b)/amd64");
  EXPECT_EQ(Format(Platform{}), "unknown");
}

TEST(PlatformTest, RefusesNonsense) {
  for (const char* text : {"", "/", "linux/", "linux/amd64/v1/x", "linux/*", "no-such-thing",
                           "li nux/amd64", "linux(1/amd64"}) {
    EXPECT_FALSE(ParsePlatform(text).ok()) << text;
  }
}

TEST(PlatformTest, NormalizesNames) {
  EXPECT_EQ(Format(Normalize({.os = "Linux", .architecture = "AARCH64"})), "linux/arm64");
  EXPECT_EQ(Format(Normalize(P("linux/arm64/v8"))), "linux/arm64");
  EXPECT_EQ(Format(Normalize({.os = "linux", .architecture = "arm"})), "linux/arm/v7");
  EXPECT_EQ(Format(Normalize({.os = "linux", .architecture = "armel"})), "linux/arm/v6");
  EXPECT_EQ(Format(Normalize({.os = "linux", .architecture = "amd64", .variant = "v1"})),
            "linux/amd64");
  EXPECT_EQ(Format(Normalize({.os = "macos", .architecture = "arm64"})), "darwin/arm64");
}

TEST(PlatformTest, MatchesLesserVariantsBestFirst) {
  const PlatformMatcher v3(P("linux/amd64/v3"));
  EXPECT_EQ(v3.Rank(P("linux/amd64/v3")), 0);
  EXPECT_EQ(v3.Rank(P("linux/amd64/v2")), 1);
  EXPECT_EQ(v3.Rank(P("linux/amd64")), 2);
  EXPECT_EQ(v3.Rank(P("linux/386")), 3);
  EXPECT_FALSE(v3.Match(P("linux/amd64/v4")));
  EXPECT_FALSE(PlatformMatcher(P("linux/amd64")).Match(P("linux/amd64/v2")));

  const PlatformMatcher arm(P("linux/arm/v7"));
  EXPECT_EQ(arm.Rank(P("linux/arm")), 0);
  EXPECT_EQ(arm.Rank(P("linux/arm/v5")), 2);
  EXPECT_FALSE(arm.Match(P("linux/arm64")));

  const PlatformMatcher arm64(P("linux/arm64"));
  EXPECT_EQ(arm64.Rank(P("linux/arm64/v8")), 0);
  EXPECT_EQ(arm64.Rank(P("linux/arm/v8")), 1);
  EXPECT_TRUE(arm64.Match(P("linux/arm/v7")));
  EXPECT_FALSE(PlatformMatcher::Only(P("linux/arm64")).Match(P("linux/arm/v7")));
  const PlatformMatcher arm9(P("linux/arm64/v9.1"));
  EXPECT_LT(arm9.Rank(P("linux/arm64/v9")), arm9.Rank(P("linux/arm64/v8.6")));
  EXPECT_TRUE(arm9.Match(P("linux/arm64/v8.6")));
  EXPECT_FALSE(arm9.Match(P("linux/arm64/v8.7")));
}

TEST(PlatformTest, PrefersMoreOsFeatures) {
  Platform wanted = P("linux/amd64");
  wanted.os_features = {"erofs"};
  Platform featured = P("linux/amd64");
  featured.os_features = {"erofs"};
  const PlatformMatcher matcher(wanted);
  EXPECT_TRUE(matcher.Less(featured, P("linux/amd64")));
  EXPECT_FALSE(matcher.Less(P("linux/amd64"), featured));
  EXPECT_TRUE(matcher.Less(P("linux/386"), P("linux/arm64")));
}

TEST(PlatformTest, AttestationEntriesMatchNothing) {
  EXPECT_FALSE(PlatformMatcher(HostPlatform()).Match({.os = "unknown", .architecture = "unknown"}));
}

}  // namespace
}  // namespace kiln::oci
