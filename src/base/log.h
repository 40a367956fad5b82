#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace kiln {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// Below this level nothing is written. Called by main; the default is kWarning.
void SetLogLevel(LogLevel level);
bool LogEnabled(LogLevel level);
// One line on stderr, with time and level. Safe from any thread.
void LogLine(LogLevel level, std::string_view text);

}  // namespace kiln

#define KILN_LOG(level, ...)                                                           \
  do {                                                                                 \
    if (::kiln::LogEnabled(level)) ::kiln::LogLine(level, ::fmt::format(__VA_ARGS__)); \
  } while (false)
#define LOG_DEBUG(...) KILN_LOG(::kiln::LogLevel::kDebug, __VA_ARGS__)
#define LOG_INFO(...) KILN_LOG(::kiln::LogLevel::kInfo, __VA_ARGS__)
#define LOG_WARNING(...) KILN_LOG(::kiln::LogLevel::kWarning, __VA_ARGS__)
#define LOG_ERROR(...) KILN_LOG(::kiln::LogLevel::kError, __VA_ARGS__)
