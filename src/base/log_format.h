#pragma once

#include <string>
#include <string_view>

#include "base/log.h"
#include "base/time.h"

namespace kiln {

enum class LogFormat { kText, kJson };

// How LogLine writes: a line of text, or a JSON object with "level", "msg" and "time". Called by
// main; the default is text. Messages quote what others say: control characters in them are
// written as escapes, so that one message is one line.
void SetLogFormat(LogFormat format);

std::string FormatLogLine(LogFormat format, LogLevel level, WallTime time, std::string_view text);

}  // namespace kiln
