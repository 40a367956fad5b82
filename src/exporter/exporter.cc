#include "exporter/exporter.h"

#include "base/parallel.h"
#include "exporter/archive_exporter.h"
#include "exporter/image_exporter.h"
#include "exporter/tree_exporter.h"

namespace kiln::exporter {
namespace {

constexpr size_t kParallelExporters = 8;

void Warn(const progress::Activity& activity, const std::vector<std::string>& warnings,
          const Digest& vertex) {
  for (const std::string& text : warnings) {
    progress::VertexWarning warning;
    warning.vertex = vertex;
    warning.level = 0;
    warning.short_text = text;
    activity.sink->OnWarning(warning);
  }
}

}  // namespace

Result<std::unique_ptr<Exporter>> Make(const Services& services, const Request& request, int index,
                                       const std::string& session_id) {
  if (request.type == "image") return MakeImageExporter(services, request);
  if (request.type == "oci" || request.type == "docker") {
    return MakeArchiveExporter(services, request, index, session_id);
  }
  if (request.type == "local" || request.type == "tar") {
    return MakeTreeExporter(services, request, index, session_id);
  }
  return NotFound("exporter \"{}\" could not be found", request.type);
}

Result<ExporterSet> ExporterSet::Make(const Services& services,
                                      const std::vector<Request>& requests,
                                      const std::string& session_id) {
  ExporterSet set;
  set.services_ = services;
  set.session_id_ = session_id;
  for (size_t i = 0; i < requests.size(); ++i) {
    TRY_ASSIGN(auto exporter,
               exporter::Make(services, requests[i], static_cast<int>(i), session_id));
    set.exporters_.push_back(std::move(exporter));
  }
  return set;
}

Status ExporterSet::RunOne(const progress::Activity& activity, size_t index,
                           const std::function<Status(const Digest&)>& work) {
  Digest vertex = Sha256Of(fmt::format("{}-export-{}", session_id_, index));
  progress::VertexScope scope(activity.sink, *services_.clock, exporters_[index]->name(), vertex);
  return scope.Finish(work(vertex));
}

Result<Outcome> ExporterSet::Run(const progress::Activity& activity,
                                 const build::BuildResult& result,
                                 const std::vector<std::string>& warnings) {
  if (exporters_.empty() && !warnings.empty()) {
    progress::VertexScope scope(activity.sink, *services_.clock, "Verifying build result");
    Warn(activity, warnings, scope.digest());
    TRY(scope.Finish(OkStatus()));
  }
  std::vector<Exported> exported(exporters_.size());
  TRY(ForEachParallel(*services_.blocking, kParallelExporters, exporters_.size(), [&](size_t i) {
    return RunOne(activity, i, [&](const Digest& vertex) -> Status {
      if (i == 0) Warn(activity, warnings, vertex);
      TRY_ASSIGN(exported[i], exporters_[i]->Export(activity, result, vertex));
      return OkStatus();
    });
  }));
  TRY(ForEachParallel(*services_.blocking, kParallelExporters, exporters_.size(), [&](size_t i) {
    if (!exported[i].finalize) return OkStatus();
    return RunOne(activity, i, [&](const Digest&) { return exported[i].finalize(activity); });
  }));
  Outcome outcome;
  for (size_t i = 0; i < exported.size(); ++i) {
    for (auto& [key, value] : exported[i].response) outcome.response[key] = std::move(value);
    if (exported[i].image) outcome.images[static_cast<int64_t>(i)] = *std::move(exported[i].image);
  }
  return outcome;
}

}  // namespace kiln::exporter
