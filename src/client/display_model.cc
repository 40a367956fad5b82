#include "client/display_model.h"

#include <fmt/format.h>

#include <array>

#include "base/strings.h"
#include "client/text_width.h"

namespace kiln::client {
namespace {

constexpr size_t kMaxLineBytes = 64 << 10;
constexpr size_t kTabColumns = 8;
constexpr char kEscape = '\x1b';
constexpr std::string_view kReset = "\x1b[0m";

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// Bytes of the valid UTF-8 sequence at the front; 0 if there is none.
size_t ValidBytes(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return 1;
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (bytes == 0 || lead > 0xf4 || text.size() < bytes) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if (!IsContinuation(text[i])) return 0;
  }
  return IsValidUtf8(text.substr(0, bytes)) ? bytes : 0;
}

// Controls of C1, and what turns the direction of writing (the bidirectional controls).
bool IsHarmful(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x202a && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || c == 0x2028 || c == 0x2029;
}

// Bytes up to the end of a string that BEL or ESC \ ends; everything if it has none.
size_t StringBytes(std::string_view text) {
  for (size_t i = 2; i < text.size(); ++i) {
    if (text[i] == '\a') return i + 1;
    if (text[i] == kEscape) return i + (i + 1 < text.size() && text[i + 1] == '\\' ? 2 : 0);
  }
  return text.size();
}

// Bytes of the escape sequence at the front (ECMA-48 §5.3–5.6); `colour` says whether it is SGR.
size_t EscapeBytes(std::string_view text, bool* colour) {
  *colour = false;
  if (text.size() < 2) return text.size();
  const char kind = text[1];
  if (kind == '[') {
    size_t end = 2;
    while (end < text.size() && text[end] >= 0x20 && text[end] <= 0x3f) ++end;
    if (end == text.size()) return end;
    const bool whole = text[end] >= 0x40 && text[end] <= 0x7e;
    // No private forms: "ESC [ > … m" sets how keys are reported.
    *colour = text[end] == 'm' &&
              text.substr(2, end - 2).find_first_not_of("0123456789;:") == std::string_view::npos;
    return whole ? end + 1 : end;
  }
  if (kind == ']' || kind == 'P' || kind == 'X' || kind == '^' || kind == '_')
    return StringBytes(text);
  size_t end = 1;
  while (end < text.size() && text[end] >= 0x20 && text[end] <= 0x2f) ++end;
  if (end < text.size() && text[end] >= 0x30 && text[end] <= 0x7e) ++end;
  return end;
}

}  // namespace

std::string FormatSeconds(nanoseconds time) {
  return fmt::format("{:.1f}s", std::chrono::duration<double>(time).count());
}

std::string FormatBytes(int64_t bytes) {
  static constexpr std::array<const char*, 6> kUnits = {"B", "kB", "MB", "GB", "TB", "PB"};
  if (bytes < 1000) return fmt::format("{}B", bytes);
  auto size = static_cast<double>(bytes);
  size_t unit = 0;
  // What would be rounded to 1000 takes the next unit.
  while (size >= 999.995 && unit + 1 < kUnits.size()) {
    size /= 1000;
    ++unit;
  }
  return fmt::format("{:.2f}{}", size, kUnits[unit]);
}

std::string FormatSizes(const progress::VertexStatus& status) {
  if (status.total != 0)
    return fmt::format("{} / {}", FormatBytes(status.current), FormatBytes(status.total));
  return status.current != 0 ? FormatBytes(status.current) : "";
}

std::string FormatStatus(const progress::VertexStatus& status) {
  std::string text = CleanLine(status.id);
  if (const std::string sizes = FormatSizes(status); !sizes.empty()) text += " " + sizes;
  if (status.started && status.completed) {
    const auto took = *status.completed - *status.started;
    if (took >= std::chrono::milliseconds(50)) text += " " + FormatSeconds(took);
  }
  if (status.completed) text += " done";
  return text;
}

bool IsCancelledText(std::string_view error) { return error.ends_with("context canceled"); }

std::string CleanLine(std::string_view line, bool colours) {
  std::string out;
  bool coloured = false;
  while (!line.empty()) {
    size_t bytes = 0;
    if (line.front() == kEscape) {
      bool colour = false;
      bytes = EscapeBytes(line, &colour);
      if (colour && colours) {
        out.append(line.substr(0, bytes));
        coloured = true;
      }
    } else if (bytes = ValidBytes(line); bytes == 0) {
      out += "\xef\xbf\xbd";  // U+FFFD
      bytes = 1;
    } else if (line.front() == '\t' || !IsHarmful(FirstChar(line).value)) {
      out.append(line.substr(0, bytes));
    }
    line.remove_prefix(bytes);
  }
  if (coloured && !out.ends_with(kReset)) out += kReset;
  return out;
}

std::string CleanText(std::string_view text) {
  std::string out;
  bool first = true;
  for (const std::string_view line : Split(text, '\n')) {
    if (!std::exchange(first, false)) out += "\n";
    out += CleanLine(line);
  }
  return out;
}

std::string ExpandTabs(const std::string& line) {
  std::string out;
  size_t from = 0;
  for (size_t tab = line.find('\t'); tab != std::string::npos; tab = line.find('\t', from)) {
    out.append(line, from, tab - from);
    out.append(kTabColumns - TextColumns(out) % kTabColumns, ' ');
    from = tab + 1;
  }
  return out.append(line, from);
}

std::vector<std::string> LineSplitter::Add(const progress::VertexLog& log) {
  Rest& rest = rest_[{log.vertex, log.stream}];
  std::vector<std::string> lines;
  for (const char c : log.data) {
    if (c == '\n') {
      lines.push_back(CleanLine(rest.text, colours_));
      rest = {};
      continue;
    }
    if (c == '\r') {
      rest.returned = true;
      continue;
    }
    if (rest.returned) rest = {};
    // Not within a character.
    if (rest.text.size() >= kMaxLineBytes && !IsContinuation(c)) {
      lines.push_back(CleanLine(rest.text, colours_));
      rest = {};
    }
    rest.text.push_back(c);
  }
  return lines;
}

std::vector<std::string> LineSplitter::Unfinished(const Digest& vertex) const {
  std::vector<std::string> lines;
  for (const auto stream : {progress::Stream::kStdout, progress::Stream::kStderr}) {
    const auto found = rest_.find({vertex, stream});
    if (found != rest_.end() && !found->second.text.empty())
      lines.push_back(CleanLine(found->second.text, colours_));
  }
  return lines;
}

std::vector<std::string> LineSplitter::Flush(const Digest& vertex) {
  std::vector<std::string> lines = Unfinished(vertex);
  for (const auto stream : {progress::Stream::kStdout, progress::Stream::kStderr})
    rest_.erase({vertex, stream});
  return lines;
}

}  // namespace kiln::client
