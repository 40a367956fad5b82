// Globs, ignore patterns and filters.
#include <gtest/gtest.h>

#include <map>

#include "base/filter.h"
#include "base/glob.h"
#include "base/pattern_matcher.h"
#include "base/strings.h"

namespace kiln {
namespace {

TEST(GlobTest, FollowsGoPathMatch) {
  struct Case {
    const char* pattern;
    const char* name;
    bool match;
  };
  const Case kCases[] = {{"abc", "abc", true},     {"*", "abc", true},
                         {"*c", "abc", true},      {"a*", "a", true},
                         {"a*", "ab/c", false},    {"a*/b", "abc/b", true},
                         {"a*/b", "a/c/b", false}, {"a*b*c*d*e*/f", "axbxcxdxe/f", true},
                         {"ab[c]", "abc", true},   {"ab[b-d]", "abc", true},
                         {"ab[^c]", "abc", false}, {"a?b", "a/b", false},
                         {"a\\*b", "a*b", true},   {"a\\*b", "ab", false},
                         {"[a-ζ]*", "a", true},    {"*x", "xxx", true},
                         {"a[^a]b", "a/b", false}, {"", "", true},
                         {"", "a", false},         {"a*b?c*x", "abxbbxdbxebxczzx", true},
                         {"[\\]a]", "]", true},    {"[x\\-]", "-", true}};
  for (const auto& test : kCases) {
    auto match = GlobMatch(test.pattern, test.name);
    ASSERT_TRUE(match.ok()) << test.pattern;
    EXPECT_EQ(*match, test.match) << test.pattern << " " << test.name;
  }
  for (auto bad : {"[", "[a", "[]a]", "[-]", "[x-]", "a[", "\\", "[^", "[a-b-c]"}) {
    EXPECT_FALSE(GlobMatch(bad, "a").ok()) << bad;
  }
}

TEST(GlobTest, IsNotExponential) {
  std::string pattern;
  for (int i = 0; i < 30; ++i) pattern += "a*";
  EXPECT_FALSE(*GlobMatch(pattern + "b", std::string(5000, 'a')));
}

bool Ignored(std::vector<std::string> patterns, std::string_view path) {
  auto matcher = PatternMatcher::Create(patterns);
  EXPECT_TRUE(matcher.ok());
  bool alone = matcher->MatchesOrParentMatches(path);
  // The walk's answer must agree.
  PatternMatcher::MatchInfo parent;
  bool walked = false;
  for (size_t slash = 0; slash != std::string_view::npos;) {
    slash = path.find('/', slash + 1);
    PatternMatcher::MatchInfo info;
    walked = matcher->Matches(path.substr(0, slash), &parent, &info);
    parent = info;
  }
  EXPECT_EQ(alone, walked) << path;
  return alone;
}

TEST(PatternMatcherTest, DecidesAsDockerignoreDoes) {
  EXPECT_TRUE(Ignored({"**"}, "a/b"));
  EXPECT_TRUE(Ignored({"**/foo"}, "foo"));
  EXPECT_TRUE(Ignored({"**/foo"}, "a/b/foo"));
  EXPECT_FALSE(Ignored({"**/foo"}, "a/bfoo"));
  EXPECT_TRUE(Ignored({"dir/**"}, "dir/a/b"));
  EXPECT_FALSE(Ignored({"dir/**"}, "dir"));
  EXPECT_TRUE(Ignored({"**/dir2/*"}, "a/dir2/file"));
  EXPECT_TRUE(Ignored({"dir"}, "dir/below/it"));
  EXPECT_TRUE(Ignored({"*.go"}, "x.go"));
  EXPECT_FALSE(Ignored({"*.go"}, "a/x.go"));
  EXPECT_FALSE(Ignored({"*", "!x.go"}, "x.go"));
  EXPECT_TRUE(Ignored({"*", "!x.go", "x.*"}, "x.go"));
  EXPECT_FALSE(Ignored({"dir", "!dir/keep"}, "dir/keep"));
  EXPECT_TRUE(Ignored({"dir", "!dir/keep"}, "dir/other"));
  EXPECT_TRUE(Ignored({" /dir/ ", ""}, "/dir"));
  EXPECT_TRUE(Ignored({"a[b-d]e"}, "ace"));
  EXPECT_FALSE(Ignored({"a[^b-d]e"}, "ace"));
  EXPECT_TRUE(Ignored({"a.b"}, "a.b"));
  EXPECT_FALSE(Ignored({"a.b*"}, "aXb"));
  EXPECT_TRUE(Ignored({"a\\*b"}, "a*b"));
  EXPECT_FALSE(PatternMatcher::Create({"!"}).ok());
  EXPECT_FALSE(PatternMatcher::Create({"[", "a"}).ok());
}

TEST(PatternMatcherTest, KnowsWhereToLook) {
  auto matcher = PatternMatcher::Create({"a/b*/c", "x/**", "**/deep"});
  EXPECT_TRUE(matcher->CouldMatchBelow("a/bb"));
  EXPECT_TRUE(matcher->CouldMatchBelow("q"));  // because of **/deep
  auto plain = PatternMatcher::Create({"a/b*/c", "!d/e"});
  EXPECT_TRUE(plain->CouldMatchBelow("a"));
  EXPECT_FALSE(plain->CouldMatchBelow("a/c"));
  EXPECT_FALSE(plain->CouldMatchBelow("d"));
  EXPECT_TRUE(plain->ExceptionCouldMatchBelow("d"));
  EXPECT_FALSE(plain->ExceptionCouldMatchBelow("f"));
}

TEST(FilterTest, SelectsByFields) {
  const std::map<std::string, std::string> object = {
      {"id", "x1"}, {"type", "regular"}, {"labels.a b", "v"}};
  auto lookup = [&](const std::vector<std::string>& path) -> std::optional<std::string> {
    auto it = object.find(Join(path, "."));
    return it == object.end() ? std::nullopt : std::optional(it->second);
  };
  auto matches = [&](std::vector<std::string> filters) {
    return Filter::Parse(filters)->Matches(lookup);
  };
  EXPECT_TRUE(matches({}));
  EXPECT_TRUE(matches({""}));
  EXPECT_TRUE(matches({"id==x1"}));
  EXPECT_TRUE(matches({"id~=^x"}));
  EXPECT_FALSE(matches({"id==x1,type!=regular"}));
  EXPECT_TRUE(matches({"id==nope", "type==regular"}));
  EXPECT_TRUE(matches({"labels.\"a b\"==v"}));
  EXPECT_FALSE(matches({"missing"}));
  EXPECT_TRUE(matches({"missing!=v"}));
  for (auto bad : {"id=x", "==x", "id==\"x", "id~=(", "id==x,"}) {
    EXPECT_FALSE(Filter::Parse({bad}).ok()) << bad;
  }
}

}  // namespace
}  // namespace kiln
