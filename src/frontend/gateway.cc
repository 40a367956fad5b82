#include "frontend/gateway.h"

#include <utility>

#include "base/digest.h"
#include "base/strings.h"
#include "build/load_graph.h"
#include "frontend/image_sources.h"
#include "progress/activity.h"
#include "progress/vertex_sink.h"

namespace kiln::frontend {
namespace {

// One more frontend under way, until destroyed.
class DepthGuard {
 public:
  explicit DepthGuard(build::Job& job) : job_(job) {}
  ~DepthGuard() { job_.LeaveFrontend(); }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  build::Job& job_;
};

// What the build's source policy makes of a source.
Result<llb::SourceId> Rewritten(const build::SourceRewriter& rewrite, const llb::SourceId& id) {
  if (!rewrite) return id;
  const llb::SourceSpec spec = llb::Format(id);
  pb::SourceOp source;
  source.set_identifier(spec.identifier);
  source.mutable_attrs()->insert(spec.attrs.begin(), spec.attrs.end());
  source = build::Canonical(std::move(source));
  TRY_ASSIGN_CTX(const bool changed, rewrite(source), "error evaluating the source policy");
  if (!changed) return id;
  return llb::ParseSource(source.identifier(), {source.attrs().begin(), source.attrs().end()});
}

}  // namespace

Gateway::Gateway(const Services& services, build::JobPtr job, std::string session_id)
    : services_(services), job_(std::move(job)), session_id_(std::move(session_id)) {
  if (services_.sources != nullptr) {
    view_ = services_.sources->OpenView(job_->activity().sessions);
  }
}

Result<build::BuildResult> Gateway::Solve(const progress::Activity& activity,
                                          const Request& request) {
  TRY_ASSIGN(build::BuildResult result, Run(activity, request));
  if (!request.evaluate) return result;
  TRY(build::EvaluateAll(activity, result.AllReferences()));
  return result;
}

Result<build::BuildResult> Gateway::Run(const progress::Activity& activity,
                                        const Request& request) {
  if (!request.source_policies.empty()) {
    return Unimplemented("source policies of a frontend's own are not served by this build server");
  }
  if (request.definition != nullptr && request.definition->def_size() > 0) {
    if (!request.frontend.empty()) {
      return Unknown("cannot solve with both Definition and Frontend specified");
    }
    build::BuildResult result;
    TRY_ASSIGN(result.ref, job_->Load(*request.definition));
    return result;
  }
  if (request.frontend.empty()) return build::BuildResult();
  const auto found = services_.frontends.find(request.frontend);
  if (found == services_.frontends.end()) {
    return Unknown("invalid frontend: {}", request.frontend);
  }
  TRY(job_->EnterFrontend());
  const DepthGuard depth(*job_);
  return found->second->Solve(activity, shared_from_this(), request);
}

Result<SourceAnswer> Gateway::Resolve(const progress::Activity& activity, const SourceQuery& query,
                                      const llb::SourceId& id) {
  const source::Sources* sources = services_.sources;  // none in some tests
  if (IsImage(id)) {
    TRY_ASSIGN(source::ImageMeta meta,
               sources->ResolveImage(activity, id, query.platform, query.with_config, &metas_));
    return SourceAnswer{id, std::move(meta)};
  }
  if (const auto* http = std::get_if<llb::HttpSource>(&id)) {
    const source::FileChecksumRequest* checksum =
        query.file_checksum ? &*query.file_checksum : nullptr;
    TRY_ASSIGN(source::HttpMeta meta, sources->ResolveHttp(activity, *http, checksum, &metas_));
    return SourceAnswer{id, std::move(meta)};
  }
  if (const auto* git = std::get_if<llb::GitSource>(&id)) {
    TRY_ASSIGN(source::GitMeta meta,
               sources->ResolveGit(activity, *git, query.git_objects, &metas_));
    return SourceAnswer{id, std::move(meta)};
  }
  // Folders and blobs have no metadata: the answer is the source, as the policy leaves it.
  return SourceAnswer{id, {}};
}

Result<SourceAnswer> Gateway::ResolveSource(const progress::Activity& activity,
                                            const SourceQuery& query) {
  TRY_ASSIGN(const llb::SourceId id, Rewritten(job_->options().rewrite_source, query.id));
  // Something else than an image now: whoever asked goes on with that.
  if (IsImage(query.id) && !IsImage(id)) return SourceAnswer{id, {}};
  const llb::SourceSpec spec = llb::Format(id);
  const std::string name =
      query.log_name.empty() ? "resolve image config for " + spec.identifier : query.log_name;
  const Digest digest =
      Sha256Of("resolve " + spec.identifier + " " + oci::FormatAll(query.platform) + " " + name);
  progress::VertexScope vertex(activity.sink, *services_.clock, name, digest);
  Result<SourceAnswer> answer = Resolve(progress::OnBehalfOf(activity, vertex.digest()), query, id);
  if (!answer.ok()) return vertex.Finish(std::move(answer).error()).error();
  TRY(vertex.Finish(OkStatus()));
  return answer;
}

Result<ImageAnswer> Gateway::ResolveImage(const progress::Activity& activity,
                                          const ImageQuery& query) {
  const SourceQuery any{query.id, query.platform, query.log_name, query.with_config, {}, false};
  TRY_ASSIGN(SourceAnswer answer, ResolveSource(activity, any));
  ImageAnswer image{std::move(answer.id), {}, {}};
  if (auto* meta = std::get_if<source::ImageMeta>(&answer.meta)) {
    image.digest = meta->digest;
    image.config = std::move(meta->config);
  }
  return image;
}

void Gateway::Warn(const progress::VertexWarning& warning) {
  job_->activity().sink->OnWarning(warning);
}

}  // namespace kiln::frontend
