#include <gtest/gtest.h>

#include "base/byte_size.h"
#include "base/csv.h"

namespace kiln {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST(ByteSizeTest, ReadsDockersSizes) {
  const std::pair<const char*, int64_t> kCases[] = {
      {"0", 0},
      {"100", 100},
      {"100b", 100},
      {" 64k ", 64 << 10},
      {"64KB", 64 << 10},
      {"3MiB", 3 << 20},
      {"1.5g", int64_t{3} << 29},
      {"0.5k", 512},
      {"1.9", 1},
      {"2 GB", int64_t{2} << 30},
      {"1T", int64_t{1} << 40},
      {"8191p", int64_t{8191} << 50},
      {"0.0000000000000000000000001p", 0},
      {"9223372036854775807", INT64_MAX},
  };
  for (const auto& [text, bytes] : kCases) EXPECT_EQ(ParseByteSize(text), bytes) << text;
  for (const char* bad : {"", "b", "-1", "+1", "1.", ".5g", "lots", "8192p", "9223372036854775808",
                          "1kk", "1ki", "1bb", "1e3", "0x10", "1,5g", "1 2k", "1.5.5"}) {
    EXPECT_FALSE(ParseByteSize(bad)) << bad;
  }
}

TEST(CsvTest, KnowsQuotes) {
  EXPECT_EQ(*ParseCsv(R"(a=1,"b=x,y",c=)"), (std::vector<std::string>{"a=1", "b=x,y", "c="}));
  EXPECT_EQ(*ParseCsv(R"("a ""q""")"), std::vector<std::string>{R"(a "q")"});
  EXPECT_EQ(*ParseCsv("a,b\r\n"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(*ParseCsv("a,"), (std::vector<std::string>{"a", ""}));
  EXPECT_TRUE(ParseCsv("")->empty());
  for (const char* bad : {"\"open", "a\"b", "\"a\"b", "a, \"b\""})
    EXPECT_FALSE(ParseCsv(bad).ok()) << bad;
}

TEST(CsvTest, KeysMayHaveBlanksAndCapitals) {
  EXPECT_EQ(*ParseKeyValues("TYPE=Local, dest = x y ,\"src=a,b\",empty="),
            (Pairs{{"type", "Local"}, {"dest", " x y "}, {"src", "a,b"}, {"empty", ""}}));
  for (const char* bad : {"a", "a=b,", "=b", " =b", "a=b,c"}) {
    EXPECT_FALSE(ParseKeyValues(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace kiln
