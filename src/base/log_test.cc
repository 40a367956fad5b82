#include <gtest/gtest.h>

#include "base/log_format.h"

namespace kiln {
namespace {

// What others say, quoted in a message, makes no second line and moves no cursor.
TEST(LogTest, AMessageIsOneLine) {
  const WallTime time = *ParseRfc3339("2026-01-02T03:04:05.067Z");
  const std::string text = "build a\nb: \"x\x1b[2J\"\t\\";
  EXPECT_EQ(FormatLogLine(LogFormat::kText, LogLevel::kInfo, time, text),
            "2026-01-02T03:04:05.067Z I build a\\nb: \"x\\x1b[2J\"\t\\");
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, LogLevel::kWarning, time, text),
            R"({"level":"warning","msg":"build a\nb: \"x\u001b[2J\"\u0009\\",)"
            R"("time":"2026-01-02T03:04:05.067Z"})");
}

}  // namespace
}  // namespace kiln
