#include "base/strings.h"

#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/time.h"

namespace kiln {
namespace {

TEST(StringsTest, CleansPathsAsGoDoes) {
  const std::pair<const char*, const char*> kCases[] = {
      {"", "."},       {"a/b", "a/b"},          {"a//b/", "a/b"},       {"./a", "a"},
      {"a/../b", "b"}, {"../a", "../a"},        {"/../a", "/a"},        {"/", "/"},
      {"a/..", "."},   {"/a/./b/../c", "/a/c"}, {"../../x/..", "../.."}};
  for (auto [path, clean] : kCases) EXPECT_EQ(CleanPath(path), clean) << path;
  EXPECT_EQ(JoinPath("/a", "../b"), "/b");
  EXPECT_EQ(JoinPath("", ""), "");
  EXPECT_EQ(BaseName("/a/b/"), "b");
  EXPECT_EQ(BaseName("/"), "/");
  EXPECT_EQ(BaseName(""), ".");
  EXPECT_EQ(DirName("/a/b"), "/a");
  EXPECT_EQ(DirName("a"), ".");
  EXPECT_EQ(DirName("/a"), "/");
}

TEST(StringsTest, ParsesNumbersStrictly) {
  EXPECT_EQ(ParseInt("-12"), -12);
  EXPECT_EQ(ParseUint("0755", 8), 0755U);
  for (auto bad : {"", "1x", " 1", "1 ", "+", "99999999999999999999"}) {
    EXPECT_FALSE(ParseInt(bad)) << bad;
  }
  EXPECT_EQ(ParseBool("True"), true);
  EXPECT_FALSE(ParseBool("yes"));
}

TEST(StringsTest, CodesBase64BothWays) {
  for (std::string text : {"", "a", "ab", "abc", "abcd"}) {
    EXPECT_EQ(Base64Decode(Base64Encode(text)), text);
  }
  EXPECT_EQ(Base64Encode("hi"), "aGk=");
  EXPECT_FALSE(Base64Decode("aGk"));
  EXPECT_FALSE(Base64Decode("aG*="));
}

TEST(StringsTest, ChecksUtf8) {
  EXPECT_TRUE(IsValidUtf8("grün €𝄞"));
  for (auto bad : {"\xc0\x80", "\xff", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    EXPECT_FALSE(IsValidUtf8(bad));
  }
}

TEST(StringsTest, ToValidUtf8ReplacesOnlyWhatIsNotValid) {
  EXPECT_EQ(ToValidUtf8("grün €𝄞"), "grün €𝄞");
  EXPECT_EQ(ToValidUtf8("bad\xffname\xc3"), "bad\uFFFDname\uFFFD");
  EXPECT_EQ(ToValidUtf8("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(ToValidUtf8(""), "");
}

TEST(StringsTest, SuggestsTheNearestName) {
  EXPECT_EQ(NearestName("COPPY", {"RUN", "COPY", "CMD"}), "COPY");
  EXPECT_EQ(NearestName("zzzzzz", {"RUN", "COPY"}), "");
}

TEST(StringsTest, QuotesControlBytes) { EXPECT_EQ(Quoted("a\n\"\x01"), "\"a\\n\\\"\\x01\""); }

TEST(StringsTest, QuotesWhatIsNoUtf8) {
  EXPECT_EQ(Quoted("caf\xe9 é\xc3"), "\"caf\\xe9 é\\xc3\"");
  EXPECT_EQ(Quoted("aéb", 2), "\"aé…\"");
  EXPECT_EQ(Quoted("aé", 2), "\"aé\"");
}

TEST(DigestTest, ParsesAndPrints) {
  Digest empty_text = Sha256Of("");
  EXPECT_EQ(empty_text.ToString(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(*Digest::Parse(empty_text.ToString()), empty_text);
  EXPECT_EQ(Sha256().Update("a").Clone().Update("b").Finish(), Sha256Of("ab"));
  for (auto bad : {"", "sha256:", "sha256:00", "md5:00", "e3b0",
                   "sha256:E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}) {
    EXPECT_FALSE(Digest::Parse(bad).ok()) << bad;
  }
}

TEST(TimeTest, FormatsAndParsesRfc3339) {
  WallTime time = *ParseRfc3339("2026-11-23T09:01:02.5Z");
  EXPECT_EQ(FormatRfc3339(time), "2026-11-23T09:01:02.5Z");
  EXPECT_EQ(*ParseRfc3339("2026-11-23T11:31:02.5+02:30"), time);
  EXPECT_EQ(FormatRfc3339(FromUnixNanos(0)), "1970-01-01T00:00:00Z");
  EXPECT_EQ(UnixNanos(*ParseRfc3339("0001-01-01T00:00:00Z")), 0);
  for (auto bad :
       {"", "2026-13-01T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "2026-02-30T00:00:00Z"}) {
    EXPECT_FALSE(ParseRfc3339(bad).ok()) << bad;
  }
}

TEST(TimeTest, ParsesGoDurations) {
  using namespace std::chrono_literals;
  EXPECT_EQ(*ParseDuration("1h30m"), nanoseconds(90min));
  EXPECT_EQ(*ParseDuration("1.5ms"), nanoseconds(1500us));
  EXPECT_EQ(*ParseDuration("-10s"), nanoseconds(-10s));
  for (auto bad : {"", "1", "h", "1x", ".s"}) EXPECT_FALSE(ParseDuration(bad).ok()) << bad;
}

}  // namespace
}  // namespace kiln
