#include "build/source_meta.h"

#include <utility>

#include "build/load_graph.h"
#include "llb/source_id.h"

namespace kiln::build {
namespace {

bool IsImage(const llb::SourceId& id) {
  return std::holds_alternative<llb::ImageSource>(id) || std::holds_alternative<llb::OciLayoutSource>(id);
}

Result<llb::SourceId> IdOf(const pb::SourceOp& source) {
  return llb::ParseSource(source.identifier(), {source.attrs().begin(), source.attrs().end()});
}

// Applies the job's policy; the source as it then is.
Result<pb::SourceOp> Rewritten(const Job& job, const pb::SourceOp& source) {
  if (!job.options().rewrite_source) return source;
  pb::SourceOp result = Canonical(source);
  TRY_CTX(job.options().rewrite_source(result), "could not resolve image due to policy");
  return result;
}

Result<source::ImageMeta> ResolveImage(Job& job, const progress::Activity& activity, const SourceMetaRequest& request,
                                       const llb::SourceId& id, const oci::Platform& platform) {
  std::string name = request.log_name.empty() ? "resolve image config for " + llb::CanonicalIdentifier(id) : request.log_name;
  // The same question is one step, however often it is asked.
  Digest digest = Sha256Of("source meta " + llb::CanonicalIdentifier(id) + " " + oci::FormatAll(platform));
  progress::VertexScope step(activity.sink, *job.environment().clock, std::move(name), digest);
  auto meta = job.environment().sources->ResolveImage(activity, id, platform, request.with_config, &job.source_meta());
  Status outcome = meta.ok() ? OkStatus() : Status(meta.error());
  TRY(step.Finish(std::move(outcome)));
  return meta;
}

}  // namespace

Result<SourceMeta> ResolveSourceMeta(Job& job, const progress::Activity& activity, const SourceMetaRequest& request) {
  if (request.source.identifier().empty()) return InvalidArgument("source is required");
  TRY_ASSIGN(llb::SourceId asked, IdOf(request.source));
  SourceMeta result;
  TRY_ASSIGN(result.source, Rewritten(job, request.source));
  TRY_ASSIGN(llb::SourceId id, IdOf(result.source));
  if (!IsImage(id)) {
    // The client asks again by the new scheme, if it was an image it asked for.
    if (IsImage(asked)) return result;
    return Unimplemented("metadata of {} is not supported by this build server", result.source.identifier());
  }
  if (auto* image = std::get_if<llb::ImageSource>(&id); image != nullptr && !result.source.attrs().contains("image.resolvemode")) {
    if (request.resolve_mode == "pull") image->resolve_mode = llb::ResolveMode::kPull;
    if (request.resolve_mode == "local") image->resolve_mode = llb::ResolveMode::kLocal;
  }
  oci::Platform platform = oci::Normalize(request.platform.value_or(oci::HostPlatform()));
  TRY_ASSIGN(result.image, ResolveImage(job, activity, request, id, platform));
  return result;
}

}  // namespace kiln::build
