#include "dockerfile/errors.h"

#include <algorithm>
#include <string>
#include <utility>

#include "llb/source_map.h"

namespace kiln::dockerfile {
namespace {

constexpr int kMaxLines = 1000;  // of one excerpt: a heredoc may be long

ErrorDetail DetailOf(const SourceFile& file, LineRange lines) {
  pb::SourceInfo info;
  info.set_filename(file.filename);
  info.set_data(file.data);
  info.set_language("Dockerfile");
  std::vector<pb::Range> ranges;
  const int last = std::min(lines.last, lines.first + kMaxLines - 1);
  for (int line = lines.first; line <= last; ++line) {
    pb::Range& range = ranges.emplace_back();
    range.mutable_start()->set_line(line);
    range.mutable_end()->set_line(line);
  }
  return llb::SourceDetail(info, ranges);
}

}  // namespace

Error WithSource(Error error, const SourceFile& file, LineRange lines) {
  if (error.FindDetail(llb::kSourceDetailType) != nullptr) return error;
  return WithMoreSource(std::move(error), file, lines);
}

Error WithMoreSource(Error error, const SourceFile& file, LineRange lines) {
  error.AddDetail(DetailOf(file, lines));
  return error;
}

}  // namespace kiln::dockerfile
