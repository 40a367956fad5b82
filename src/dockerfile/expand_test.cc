#include "dockerfile/expand.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace kiln::dockerfile {
namespace {

const std::map<std::string, std::string, std::less<>> kVariables = {
    {"X", "value"},    {"EMPTY", ""},         {"PATH2", "/a/b/c.tar.gz"}, {"N", "one\ntwo"},
    {"UNI", "äöü"},    {"DIR", "/usr/local"}, {"REP", "foo-foo-bar"},     {"SP", "a b  c"},
    {"STAR", "a*b*c"}, {"lower", "l"},        {"Q", "it's \"q\""},
};

std::optional<std::string_view> Lookup(std::string_view name) {
  const auto found = kVariables.find(name);
  if (found == kVariables.end()) return std::nullopt;
  return found->second;
}

struct Case {
  std::string_view in;
  std::string_view out;  // beginning with "!": an error that contains the rest
};

void Check(const Case& c, const ExpandOptions& options) {
  const auto result = Expand(c.in, Lookup, options);
  if (c.out.starts_with('!')) {
    ASSERT_FALSE(result.ok()) << c.in << " gave " << result->text;
    EXPECT_NE(result.error().ToString().find(c.out.substr(1)), std::string::npos)
        << c.in << ": " << result.error().ToString();
    return;
  }
  ASSERT_TRUE(result.ok()) << c.in << ": " << result.error().ToString();
  EXPECT_EQ(result->text, c.out) << c.in;
}

TEST(ExpandTest, Table) {
  const std::vector<Case> cases = {
      {"", ""},
      {"plain", "plain"},
      {"$X", "value"},
      {"${X}", "value"},
      {"a${X}b$X", "avaluebvalue"},
      {"$Xb", ""},
      {"$UNSET", ""},
      {"[$EMPTY]", "[]"},
      {"$", "$"},
      {"$ x", "$ x"},
      {"$.x", "$.x"},
      {"a$", "a$"},
      {"$1abc", "abc"},
      {"$12x", "x"},
      {"$@x$*$#$?$-$!", "x"},
      // quotes
      {"'$X'", "$X"},
      {"\"$X\"", "value"},
      {"'a\\b'", "a\\b"},
      {"\"a\\b\"", "a\\b"},
      {"\"a\\\"b\"", "a\"b"},
      {"\"a\\$X\"", "a$X"},
      {"\"a\\\\b\"", "a\\b"},
      {"\\$X", "$X"},
      {"a\\bc", "abc"},
      {"a\\", "a"},
      {"\\'x\\'", "'x'"},
      {"a'b'\"c\"d", "abcd"},
      {"\"it's\"", "it's"},
      {"'", "!single-quote"},
      {"\"", "!double-quote"},
      {"'abc", "!failed to process \"'abc\""},
      {"$Q", "it's \"q\""},
      // defaults
      {"${X:-d}", "value"},
      {"${X-d}", "value"},
      {"${EMPTY:-d}", "d"},
      {"${EMPTY-d}", ""},
      {"${UNSET:-d}", "d"},
      {"${UNSET-d}", "d"},
      {"${UNSET:-}", ""},
      {"${X:+d}", "d"},
      {"${X+d}", "d"},
      {"${EMPTY:+d}", ""},
      {"${EMPTY+d}", "d"},
      {"${UNSET:+d}", ""},
      {"${UNSET+d}", ""},
      {"${UNSET:-$X}", "value"},
      {"${UNSET:-${X}}", "value"},
      {"${UNSET:-${EMPTY:-deep}}", "deep"},
      {"${UNSET:-\"a b\"}", "a b"},
      {"${UNSET:-'a}b'}", "a}b"},
      {"${UNSET:-a\\}b}", "a}b"},
      {"${X:?e}", "value"},
      {"${X?e}", "value"},
      {"${EMPTY?e}", ""},
      {"${UNSET?}", "!UNSET: is not allowed to be unset"},
      {"${UNSET:?}", "!UNSET: is not allowed to be unset"},
      {"${EMPTY:?}", "!EMPTY: is not allowed to be empty"},
      {"${UNSET:?give $X}", "!UNSET: give value"},
      // patterns
      {"${PATH2#/}", "a/b/c.tar.gz"},
      {"${PATH2#*/}", "a/b/c.tar.gz"},
      {"${PATH2##*/}", "c.tar.gz"},
      {"${PATH2%.*}", "/a/b/c.tar"},
      {"${PATH2%%.*}", "/a/b/c"},
      {"${PATH2%/*}", "/a/b"},
      {"${PATH2%%/*}", ""},
      {"${PATH2#x}", "/a/b/c.tar.gz"},
      {"${X#v?l}", "ue"},
      {"${X%?}", "valu"},
      {"${X##*}", ""},
      {"${X#*}", "value"},
      {"${UNI#?}", "öü"},
      {"${UNI%?}", "äö"},
      {"${N#*o}", "ne\ntwo"},
      {"${N##*o}", "ne\ntwo"},
      {"${STAR#a\\*}", "b*c"},
      {"${DIR#${EMPTY:-/usr}}", "/local"},
      {"${REP/foo/x}", "x-foo-bar"},
      {"${REP//foo/x}", "x-x-bar"},
      {"${REP//o*-/x}", "fxbar"},
      {"${REP/foo/}", "-foo-bar"},
      {"${REP//-/\\/}", "foo\\/foo\\/bar"},
      {"${DIR//\\//_}", "_usr_local"},
      {"${REP/zzz/x}", "foo-foo-bar"},
      {"${REP//foo/$X}", "value-value-bar"},
      {"${UNSET/foo/x}", ""},
      {"${X#\\a}", "!invalid pattern (\\a) in substitution: invalid escape '\\a'"},
      // syntax
      {"${}", "!bad substitution"},
      {"${{X}", "!bad substitution"},
      {"${:X}", "!bad substitution"},
      {"${", "!missing '}'"},
      {"${X", "!unsupported modifier (\xEF\xBF\xBD)"},
      {"${X:", "!missing '}'"},
      {"${X:}", "!missing '}'"},
      {"${X:-a", "!missing '}'"},
      {"${X/a", "!missing '/'"},
      {"${X/a/b", "!missing '}'"},
      {"${X:x}", "!unsupported modifier (:x)"},
      {"${X:=y}", "!unsupported modifier (:=)"},
      {"${X!}", "!unsupported modifier (!)"},
      {"${X^}", "!unsupported modifier (^)"},
      {"<<EOF", "<<EOF"},
      {"äöü $X", "äöü value"},
  };
  for (const Case& c : cases) Check(c, {});
}

TEST(ExpandTest, BacktickAsEscape) {
  ExpandOptions options;
  options.escape = '`';
  Check({"C:\\dir\\$X", "C:\\dir\\value"}, options);
  Check({"`$X", "$X"}, options);
  Check({"\"a`$X\"", "a$X"}, options);
}

TEST(ExpandTest, KeepsWhatIsAskedToBeKept) {
  ExpandOptions options;
  options.keep_quotes = true;
  options.keep_unset = true;
  Check({"echo '$X' \"$X\" $UNSET ${UNSET} ${UNSET:-d} ${UNSET#p} ${UNSET//a/b}",
         "echo '$X' \"value\" $UNSET ${UNSET} ${UNSET:-d} ${UNSET#p} ${UNSET//a/b}"},
        options);
}

TEST(ExpandTest, HeredocBodiesKeepQuotes) {
  ExpandOptions options;
  options.literal_quotes = true;
  Check({"it's \"$X\" \\$X \\n", "it's \"value\" $X n"}, options);
}

TEST(ExpandTest, WordsSplitOutsideQuotes) {
  const auto words = [](std::string_view text) { return Expand(text, Lookup, {})->words; };
  EXPECT_EQ(words("a  b c"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(words("$SP"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(words("\"$SP\""), (std::vector<std::string>{"a b  c"}));
  EXPECT_EQ(words("x$SP'y z'"), (std::vector<std::string>{"xa", "b", "cy z"}));
  EXPECT_EQ(words("a\\ b"), (std::vector<std::string>{"a b"}));
  EXPECT_EQ(words("   "), std::vector<std::string>());
}

TEST(ExpandTest, TellsWhichVariablesMattered) {
  const auto expanded = Expand("$X ${UNSET:-$lower} $EMPTY", Lookup, {});
  EXPECT_EQ(expanded->used, (std::set<std::string, std::less<>>{"EMPTY", "X", "lower"}));
  EXPECT_EQ(expanded->missing, (std::set<std::string, std::less<>>{"UNSET"}));
}

TEST(ExpandTest, HostileTextIsBounded) {
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "${A:-";
  EXPECT_FALSE(Expand(deep, Lookup, {}).ok());
  const std::string big(1 << 16, 'a');
  const auto large = [&](std::string_view) { return std::optional<std::string_view>(big); };
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "$A";
  EXPECT_FALSE(Expand(many, large, {}).ok());
  EXPECT_FALSE(Expand("${A//a/" + big + "}", large, {}).ok());
  EXPECT_FALSE(Expand("${A//*a*a*a*b/x}", large, {}).ok());
}

}  // namespace
}  // namespace kiln::dockerfile
