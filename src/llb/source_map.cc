#include "llb/source_map.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "errdefs/errdefs.pb.h"
#include "llb/go_json.h"

namespace kiln::llb {

namespace {

constexpr size_t kMaxMarkedBytes = 16 << 10;  // of the lines that ranges name
constexpr size_t kMaxWholeBytes = 256 << 10;  // of a file that comes with its excerpt as it is
constexpr int32_t kLinesAround = 10;          // more than clients show beside those that are named

// The lines of a text, without their ends.
class Lines {
 public:
  explicit Lines(std::string_view text) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      lines_.push_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  int32_t count() const { return static_cast<int32_t>(lines_.size()); }
  // "" where there is none; the first one is 1.
  std::string_view At(int32_t number) const {
    return number < 1 || number > count() ? "" : lines_[static_cast<size_t>(number - 1)];
  }

 private:
  std::vector<std::string_view> lines_;
};

// The ranges that an excerpt shows: an error is no place for a heredoc of megabytes.
std::vector<pb::Range> Shown(const std::vector<pb::Range>& ranges, const Lines& lines) {
  std::vector<pb::Range> shown;
  size_t bytes = 0;
  for (const pb::Range& range : ranges) {
    const int32_t first = std::max(range.start().line(), 1);
    const int32_t last = std::min(range.end().line(), lines.count());
    for (int32_t line = first; line <= last && bytes <= kMaxMarkedBytes; ++line)
      bytes += lines.At(line).size() + 1;
    if (bytes > kMaxMarkedBytes && !shown.empty()) break;
    shown.push_back(range);
  }
  return shown;
}

// The text with nothing but line ends where nobody looks.
std::string Around(const std::vector<pb::Range>& ranges, const Lines& lines) {
  int32_t first = lines.count();
  int32_t last = 0;
  for (const pb::Range& range : ranges) {
    first = std::min(first, range.start().line());
    last = std::max(last, range.start().line());
  }
  std::string text;
  last = std::min<int64_t>(int64_t{last} + kLinesAround, lines.count());
  for (int32_t line = 1; line <= last; ++line) {
    if (line >= first - kLinesAround) text += lines.At(line);
    text += '\n';
  }
  return text;
}

}  // namespace

ErrorDetail SourceDetail(const pb::SourceInfo& info, const std::vector<pb::Range>& ranges) {
  errdefs::Source source;
  const Lines lines(info.data());
  const std::vector<pb::Range> shown = Shown(ranges, lines);
  source.mutable_info()->set_filename(info.filename());
  source.mutable_info()->set_language(info.language());
  source.mutable_info()->set_data(info.data().size() <= kMaxWholeBytes ? info.data()
                                                                       : Around(shown, lines));
  if (info.has_definition()) *source.mutable_info()->mutable_definition() = info.definition();
  for (const pb::Range& range : shown) {
    pb::Range& entry = *source.add_ranges();
    entry = range;
    // Clients dereference both.
    entry.mutable_start();
    entry.mutable_end();
  }
  ErrorDetail detail{std::string(kSourceDetailType), {}};
  AppendGoJson(detail.value, source);
  return detail;
}

std::vector<ErrorDetail> SourceDetails(const pb::Source& source, std::string_view vertex_digest) {
  std::vector<ErrorDetail> details;
  auto found = source.locations().find(std::string(vertex_digest));
  if (found == source.locations().end()) return details;
  const auto& locations = found->second.locations();
  for (auto it = locations.rbegin(); it != locations.rend(); ++it) {
    const pb::Location& location = *it;
    if (location.sourceindex() < 0 || location.sourceindex() >= source.infos_size()) continue;
    if (location.ranges().empty()) continue;
    details.push_back(SourceDetail(source.infos(location.sourceindex()),
                                   {location.ranges().begin(), location.ranges().end()}));
  }
  return details;
}

ErrorDetail VertexDetail(std::string_view vertex_digest) {
  errdefs::Vertex vertex;
  vertex.set_digest(std::string(vertex_digest));
  ErrorDetail detail{std::string(kVertexDetailType), {}};
  AppendGoJson(detail.value, vertex);
  return detail;
}

}  // namespace kiln::llb
