#include "client/progress_events.h"

#include <moby/buildkit/v1/control.pb.h>

#include <set>
#include <string>
#include <vector>

#include "api/timestamp.h"

namespace kiln::client {
namespace {

namespace pb = moby::buildkit::v1;

using api::TimeOf;

// What is no digest is dropped: nothing could refer to it.
Digest DigestOf(const std::string& text) {
  return Digest::Parse(text).ok() ? *Digest::Parse(text) : Digest();
}

progress::Vertex FromProto(const pb::Vertex& from) {
  progress::Vertex vertex;
  vertex.digest = DigestOf(from.digest());
  for (const std::string& input : from.inputs()) vertex.inputs.push_back(DigestOf(input));
  vertex.name = from.name();
  vertex.cached = from.cached();
  if (from.has_started()) vertex.started = TimeOf(from.started());
  if (from.has_completed()) vertex.completed = TimeOf(from.completed());
  vertex.error = from.error();
  if (from.has_progressgroup()) {
    vertex.group = progress::Group{from.progressgroup().id(), from.progressgroup().name(),
                                   from.progressgroup().weak()};
  }
  return vertex;
}

progress::VertexStatus FromProto(const pb::VertexStatus& from) {
  progress::VertexStatus status;
  status.vertex = DigestOf(from.vertex());
  status.id = from.id();
  status.name = from.name();
  status.current = from.current();
  status.total = from.total();
  status.timestamp = TimeOf(from.timestamp());
  if (from.has_started()) status.started = TimeOf(from.started());
  if (from.has_completed()) status.completed = TimeOf(from.completed());
  return status;
}

progress::VertexWarning FromProto(const pb::VertexWarning& from) {
  progress::VertexWarning warning;
  warning.vertex = DigestOf(from.vertex());
  warning.level = static_cast<int>(from.level());
  warning.short_text = from.short_();
  warning.detail.assign(from.detail().begin(), from.detail().end());
  warning.url = from.url();
  if (from.has_info()) {
    warning.info =
        progress::SourceInfo{from.info().filename(), from.info().data(), from.info().language(),
                             from.info().definition().SerializeAsString()};
  }
  for (const auto& range : from.ranges()) {
    warning.ranges.push_back({{range.start().line(), range.start().character()},
                              {range.end().line(), range.end().character()}});
  }
  return warning;
}

}  // namespace

void Emit(const pb::StatusResponse& response, progress::Sink& sink) {
  std::set<std::string> with_events;
  for (const auto& status : response.statuses()) with_events.insert(status.vertex());
  for (const auto& log : response.logs()) with_events.insert(log.vertex());
  std::vector<progress::Vertex> completed;
  for (const auto& from : response.vertexes()) {
    progress::Vertex vertex = FromProto(from);
    if (vertex.completed && with_events.contains(from.digest())) {
      completed.push_back(vertex);
      vertex.completed.reset();
      vertex.error.clear();
    }
    sink.OnVertex(vertex);
  }
  for (const auto& status : response.statuses()) sink.OnStatus(FromProto(status));
  for (const auto& log : response.logs()) {
    sink.OnLog({DigestOf(log.vertex()), TimeOf(log.timestamp()),
                log.stream() == 2 ? progress::Stream::kStderr : progress::Stream::kStdout,
                log.msg()});
  }
  for (const progress::Vertex& vertex : completed) sink.OnVertex(vertex);
  for (const auto& warning : response.warnings()) sink.OnWarning(FromProto(warning));
}

}  // namespace kiln::client
