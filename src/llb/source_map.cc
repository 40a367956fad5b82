#include "llb/source_map.h"

#include <string>

#include "errdefs/errdefs.pb.h"
#include "llb/go_json.h"

namespace kiln::llb {

ErrorDetail SourceDetail(const pb::SourceInfo& info, const std::vector<pb::Range>& ranges) {
  errdefs::Source source;
  *source.mutable_info() = info;
  for (const pb::Range& range : ranges) {
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
