#include "cmd/values.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <CLI/CLI.hpp>

#include "cmd/usage.h"

namespace kiln::cmd {
namespace {

TEST(ValuesTest, SizesNameTheirFlag) {
  EXPECT_EQ(*ParseSize("--x", "1.5k"), 1536);
  EXPECT_EQ(ParseSize("--x", "lots").error().ToString(), "invalid size \"lots\" for --x");
}

TEST(ValuesTest, ReadsFiltersAsDockerHasThem) {
  auto filter = ParseCacheFilters({"id=abc", "type=regular", "until=24h", "inuse", "size!=0"});
  ASSERT_TRUE(filter.ok());
  EXPECT_EQ(filter->expressions, std::vector<std::string>{"id~=abc,type==regular,inuse,size!=0"});
  EXPECT_EQ(filter->until, std::chrono::hours(24));
  EXPECT_TRUE(ParseCacheFilters({})->expressions.empty());
  EXPECT_FALSE(ParseCacheFilters({"until=soon"}).ok());
}

TEST(ValuesTest, FormatsTables) {
  EXPECT_EQ(FormatTable({{"A", "LONG NAME", "C"}, {"x", "y", ""}, {"longer", "", "z"}}),
            "A        LONG NAME   C\n"
            "x        y\n"
            "longer               z\n");
}

TEST(ValuesTest, FormatsTimes) {
  using std::chrono::hours;
  using std::chrono::minutes;
  using std::chrono::seconds;
  EXPECT_EQ(FormatAge(nanoseconds(5)), "just now");
  EXPECT_EQ(FormatAge(seconds(1)), "1 second ago");
  EXPECT_EQ(FormatAge(minutes(5)), "5 minutes ago");
  EXPECT_EQ(FormatAge(hours(47)), "47 hours ago");
  EXPECT_EQ(FormatAge(hours(72)), "3 days ago");
  EXPECT_EQ(FormatSpan(std::chrono::milliseconds(440)), "0.4s");
  EXPECT_EQ(FormatSpan(seconds(192)), "3m 12s");
  EXPECT_EQ(FormatSpan(hours(2) + minutes(5)), "2h 5m");
}

TEST(UsageTest, NamesTheNearest) {
  const auto describe = [](std::vector<std::string> words) {
    CLI::App app{"", "kiln"};
    app.require_subcommand(0, 1);
    CLI::App* build = app.add_subcommand("build");
    std::string value;
    build->add_option("--build-arg", value);
    build->add_option("--hidden", value)->group("");
    build->add_option("path", value);
    std::reverse(words.begin(), words.end());
    try {
      app.parse(words);
    } catch (const CLI::ExtrasError&) {
      return DescribeUnknown(app);
    }
    return std::string();
  };
  EXPECT_EQ(describe({"build", "--build-args=x", "."}),
            "kiln build: unknown flag --build-args (did you mean --build-arg?)\n"
            "See 'kiln build --help'.\n");
  EXPECT_EQ(describe({"biuld"}),
            "kiln: unknown command \"biuld\" (did you mean build?)\nSee 'kiln --help'.\n");
  EXPECT_EQ(describe({"build", "--hiden"}),
            "kiln build: unknown flag --hiden\nSee 'kiln build --help'.\n");
  EXPECT_EQ(describe({"build", "a", "b"}),
            "kiln build: unexpected argument \"b\"\nSee 'kiln build --help'.\n");
}

}  // namespace
}  // namespace kiln::cmd
