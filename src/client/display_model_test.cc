#include "client/display_model.h"

#include <gtest/gtest.h>

#include "client/text_width.h"

namespace kiln::client {
namespace {

TEST(CleanLineTest, LeavesOutWhatATerminalWouldObey) {
  const std::pair<std::string, std::string> kCases[] = {
      {"plain\ttext", "plain\ttext"},
      {"a\x1b[31mred\x1b[0mb", "aredb"},
      {"a\x1b[2J\x1b[1;1Hb\x1b[?1049hc", "abc"},
      {"a\x1b]0;title\x07"
       "b\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\c",
       "ablinkc"},
      {"a\x1bP1$r0m\x1b\\b\x1b_apc\x1b\\c\x1b^pm\x1b\\d", "abcd"},
      {"a\x1b"
       "cb\x1b(Bc\x1b=d",
       "abcd"},
      {"a\x1b[", "a"},
      {"a\x1b", "a"},
      {"a\x1b]0;open", "a"},
      {"bell\x07 back\x08 del\x7f nul" + std::string(1, '\0') + "!", "bell back del nul!"},
      {"c1 \xc2\x9b"
       "31m \xc2\x85!",
       "c1 31m !"},
      {"bidi \xe2\x80\xae"
       "evil\xe2\x81\xa9!",
       "bidi evil!"},
      {"bad \xff\xc3( \xe2\x82!", "bad \xef\xbf\xbd\xef\xbf\xbd( \xef\xbf\xbd\xef\xbf\xbd!"},
      {"good é 漢 🚀", "good é 漢 🚀"},
  };
  for (const auto& [line, want] : kCases) EXPECT_EQ(CleanLine(line), want) << line;
}

TEST(CleanLineTest, KeepsColoursWhereWantedAndResetsThem) {
  EXPECT_EQ(CleanLine("a\x1b[1;31mred", true), "a\x1b[1;31mred\x1b[0m");
  EXPECT_EQ(CleanLine("a\x1b[38:2:1:2:3mred\x1b[0m", true), "a\x1b[38:2:1:2:3mred\x1b[0m");
  EXPECT_EQ(CleanLine("a\x1b[>4;2mb\x1b[2Kc", true), "abc");
}

TEST(CleanTextTest, KeepsLines) {
  EXPECT_EQ(CleanText("\n a\x1b]0;t\n\nb\x07\n"), "\n a\n\nb\n");
  EXPECT_EQ(CleanText("a"), "a");
  EXPECT_EQ(CleanText(""), "");
}

TEST(LineSplitterTest, StartsLinesAnewAtCarriageReturns) {
  LineSplitter lines;
  const Digest vertex = Sha256Of("v");
  const auto add = [&](const std::string& data) {
    return lines.Add({vertex, WallTime(), progress::Stream::kStdout, data});
  };
  using Lines = std::vector<std::string>;
  EXPECT_EQ(add("dos\r\nunix\n"), (Lines{"dos", "unix"}));
  EXPECT_EQ(add("10%\r20%\r"), Lines{});
  EXPECT_EQ(lines.Unfinished(vertex), Lines{"20%"});
  EXPECT_EQ(add("100%\r"), Lines{});
  EXPECT_EQ(add("\nnext"), Lines{"100%"});
  EXPECT_EQ(lines.Flush(vertex), Lines{"next"});
  EXPECT_EQ(lines.Flush(vertex), Lines{});
  std::string endless(200'000, 'x');
  const auto cut = add(endless);
  EXPECT_EQ(cut.size(), 3U);
}

TEST(TextWidthTest, CountsColumns) {
  const std::pair<std::string, size_t> kCases[] = {
      {"", 0},     {"abc", 3},  {"é", 1},  {"e\xcc\x81", 1},
      {"漢字", 4}, {"한글", 4}, {"🚀", 2}, {"\x1b[31mred\x1b[0m", 3},
      {"…", 1},    {"✔", 1},    {"✅", 2},
  };
  for (const auto& [text, columns] : kCases) EXPECT_EQ(TextColumns(text), columns) << text;
}

TEST(TextWidthTest, CutsAtColumns) {
  EXPECT_EQ(FitColumns("abcdef", 6), "abcdef");
  EXPECT_EQ(FitColumns("abcdef", 5), "abcd…");
  EXPECT_EQ(FitColumns("漢字漢字", 5), "漢字…");
  EXPECT_EQ(FitColumns("漢字漢字", 4), "漢…");
  EXPECT_EQ(FitColumns("\x1b[31mabcdef\x1b[0m", 3), "\x1b[31mab…\x1b[0m");
  EXPECT_EQ(FitColumns("abc", 0), "");
  for (size_t columns = 1; columns < 12; ++columns)
    EXPECT_LE(TextColumns(FitColumns("a漢é🚀e\xcc\x81 xyz 字", columns)), columns);
}

TEST(DisplayModelTest, FormatsSizesAndTabs) {
  EXPECT_EQ(FormatBytes(0), "0B");
  EXPECT_EQ(FormatBytes(999), "999B");
  EXPECT_EQ(FormatBytes(1000), "1.00kB");
  EXPECT_EQ(FormatBytes(999'999), "1.00MB");
  EXPECT_EQ(FormatBytes(1'234'567'890), "1.23GB");
  EXPECT_EQ(ExpandTabs("a\tb\t\tc"), "a       b               c");
  EXPECT_EQ(ExpandTabs("漢字\tb"), "漢字    b");
}

}  // namespace
}  // namespace kiln::client
