#include "control/progress_proto.h"

#include <moby/buildkit/v1/control.pb.h>

#include <algorithm>

#include "api/timestamp.h"
#include "base/strings.h"

namespace kiln::control {
namespace {

using api::Earlier;
using api::ToProto;
using moby::buildkit::v1::StatusResponse;

}  // namespace

size_t AddVertex(const progress::Vertex& vertex, StatusResponse* batch) {
  auto* out = batch->add_vertexes();
  out->set_digest(vertex.digest.ToString());
  for (const Digest& input : vertex.inputs) out->add_inputs(input.ToString());
  out->set_name(ToValidUtf8(vertex.name));
  out->set_cached(vertex.cached);
  if (vertex.started) ToProto(*vertex.started, out->mutable_started());
  if (vertex.completed) ToProto(*vertex.completed, out->mutable_completed());
  out->set_error(ToValidUtf8(vertex.error));
  if (vertex.group) {
    out->mutable_progressgroup()->set_id(vertex.group->id);
    out->mutable_progressgroup()->set_name(vertex.group->name);
    out->mutable_progressgroup()->set_weak(vertex.group->weak);
  }
  return out->ByteSizeLong();
}

size_t AddStatus(const progress::VertexStatus& status, StatusResponse* batch) {
  auto* out = batch->add_statuses();
  out->set_id(ToValidUtf8(status.id));
  out->set_vertex(status.vertex.ToString());
  out->set_name(ToValidUtf8(status.name));
  out->set_current(status.current);
  out->set_total(status.total);
  ToProto(status.timestamp, out->mutable_timestamp());
  if (status.started) ToProto(*status.started, out->mutable_started());
  if (status.completed) ToProto(*status.completed, out->mutable_completed());
  return out->ByteSizeLong();
}

size_t AddWarning(const progress::VertexWarning& warning, StatusResponse* batch) {
  auto* out = batch->add_warnings();
  out->set_vertex(warning.vertex.ToString());
  out->set_level(warning.level);
  out->set_short_(warning.short_text);
  for (const std::string& line : warning.detail) out->add_detail(line);
  out->set_url(warning.url);
  if (warning.info) {
    out->mutable_info()->set_filename(warning.info->filename);
    out->mutable_info()->set_data(warning.info->data);
    out->mutable_info()->set_language(warning.info->language);
    if (!warning.info->definition.empty()) {
      out->mutable_info()->mutable_definition()->ParseFromString(warning.info->definition);
    }
  }
  for (const progress::Range& range : warning.ranges) {
    // Both ends must be present: clients dereference them.
    auto* to = out->add_ranges();
    to->mutable_start()->set_line(range.start.line);
    to->mutable_start()->set_character(range.start.character);
    to->mutable_end()->set_line(range.end.line);
    to->mutable_end()->set_character(range.end.character);
  }
  return out->ByteSizeLong();
}

void SortBatch(StatusResponse* batch) {
  auto* vertexes = batch->mutable_vertexes();
  std::stable_sort(vertexes->pointer_begin(), vertexes->pointer_end(),
                   [](const auto* a, const auto* b) {
                     if (a->has_started() != b->has_started()) return !a->has_started();
                     return a->has_started() && Earlier(a->started(), b->started());
                   });
  const auto by_time = [](const auto* a, const auto* b) {
    return Earlier(a->timestamp(), b->timestamp());
  };
  std::stable_sort(batch->mutable_statuses()->pointer_begin(),
                   batch->mutable_statuses()->pointer_end(), by_time);
  std::stable_sort(batch->mutable_logs()->pointer_begin(), batch->mutable_logs()->pointer_end(),
                   by_time);
}

}  // namespace kiln::control
