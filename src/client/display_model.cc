#include "client/display_model.h"

#include <fmt/format.h>

#include "base/strings.h"

namespace kiln::client {
namespace {

constexpr size_t kMaxLineBytes = 64 << 10;

}  // namespace

std::string FormatSeconds(nanoseconds time) {
  return fmt::format("{:.1f}s", std::chrono::duration<double>(time).count());
}

std::string FormatStatus(const progress::VertexStatus& status) {
  std::string text = status.id;
  if (status.total != 0) {
    text += fmt::format(" {} / {}", HumanBytes(status.current), HumanBytes(status.total));
  } else if (status.current != 0) {
    text += " " + HumanBytes(status.current);
  }
  if (status.started && status.completed) {
    const auto took = *status.completed - *status.started;
    if (took >= std::chrono::milliseconds(50)) text += " " + FormatSeconds(took);
  }
  if (status.completed) text += " done";
  return text;
}

bool IsCancelledText(std::string_view error) { return error.ends_with("context canceled"); }

std::string CleanLine(std::string_view line) {
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    const auto c = static_cast<unsigned char>(line[i]);
    if (c == 0x1b && i + 1 < line.size() && line[i + 1] == '[') {
      size_t end = i + 2;
      while (end < line.size() && (line[end] < 0x40 || line[end] > 0x7e)) ++end;
      if (end < line.size() && line[end] == 'm') out.append(line.substr(i, end - i + 1));
      i = end;
    } else if (c >= 0x20 || c == '\t') {
      out.push_back(line[i]);
    }
  }
  return out;
}

std::vector<std::string> LineSplitter::Add(const progress::VertexLog& log) {
  std::string& rest = rest_[{log.vertex, log.stream}];
  std::vector<std::string> lines;
  for (const char c : log.data) {
    if (c == '\n' || rest.size() >= kMaxLineBytes) {
      if (rest.ends_with('\r')) rest.pop_back();
      const size_t restart = rest.rfind('\r');
      lines.push_back(CleanLine(restart == std::string::npos ? rest : rest.substr(restart + 1)));
      rest.clear();
    }
    if (c != '\n') rest.push_back(c);
  }
  return lines;
}

std::vector<std::string> LineSplitter::Flush(const Digest& vertex) {
  std::vector<std::string> lines;
  for (const auto stream : {progress::Stream::kStdout, progress::Stream::kStderr}) {
    const auto found = rest_.find({vertex, stream});
    if (found == rest_.end()) continue;
    if (!found->second.empty()) lines.push_back(CleanLine(found->second));
    rest_.erase(found);
  }
  return lines;
}

}  // namespace kiln::client
