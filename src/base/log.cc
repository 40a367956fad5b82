#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

#include "base/log_format.h"
#include "base/strings.h"

namespace kiln {
namespace {

std::atomic<LogFormat> g_format{LogFormat::kText};

spdlog::logger& Logger() {
  static spdlog::logger logger = [] {
    spdlog::logger made("kiln", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made.set_level(spdlog::level::warn);
    made.set_pattern("%v");
    return made;
  }();
  return logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                          spdlog::level::warn, spdlog::level::err,
                                                          spdlog::level::off};
  return kLevels[static_cast<int>(level)];
}

std::string Escaped(std::string_view text, LogFormat format) {
  const bool json = format == LogFormat::kJson;
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t' && !json) {
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += json ? fmt::format("\\u{:04x}", byte) : fmt::format("\\x{:02x}", byte);
    } else {
      if (json && (c == '"' || c == '\\')) out += '\\';
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string FormatLogLine(LogFormat format, LogLevel level, WallTime time, std::string_view text) {
  const auto place = static_cast<size_t>(level);
  if (format == LogFormat::kJson) {
    static constexpr const char* kNames[] = {"debug", "info", "warning", "error", "off"};
    return fmt::format(R"({{"level":"{}","msg":"{}","time":"{}"}})", kNames[place],
                       Escaped(ToValidUtf8(text), format), FormatRfc3339(time));
  }
  static constexpr char kLetters[] = "DIWEO";
  const auto millis = std::chrono::floor<std::chrono::milliseconds>(time);
  // Always of the same width.
  const std::string seconds = FormatRfc3339(std::chrono::floor<std::chrono::seconds>(time));
  return fmt::format("{}.{:03}Z {} {}", seconds.substr(0, seconds.size() - 1),
                     millis.time_since_epoch().count() % 1000, kLetters[place],
                     Escaped(text, format));
}

void SetLogLevel(LogLevel level) { Logger().set_level(ToSpdlog(level)); }
void SetLogFormat(LogFormat format) { g_format = format; }
bool LogEnabled(LogLevel level) { return Logger().should_log(ToSpdlog(level)); }
void LogLine(LogLevel level, std::string_view text) {
  const std::string line = FormatLogLine(
      g_format, level, std::chrono::time_point_cast<nanoseconds>(std::chrono::system_clock::now()),
      text);
  Logger().log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace kiln
