#include "control/solve.h"

#include "build/job.h"
#include "build/source_policy.h"
#include "control/requests.h"
#include "exporter/verify_platforms.h"

namespace kiln::control {
namespace {

namespace pb = moby::buildkit::v1;

// Cancels the build when its job is, for as long as this lives.
class CancelLink {
 public:
  CancelLink(const LiveJobPtr& live, const build::JobPtr& job)
      : link_(live->cancel.token().OnCancel([token = live->cancel.token(), job] {
          const Status why = token.Check();
          job->Cancel(why.ok() ? Cancelled("context canceled") : why.error());
        })) {}

 private:
  std::unique_ptr<CancelCallback> link_;
};

}  // namespace

Result<build::BuildResult> BuildSolver::RunFrontend(const LiveJobPtr& job,
                                                    const frontend::GatewayPtr& gateway,
                                                    const pb::SolveRequest& request) {
  frontend::Request asked = RequestOf(request);
  if (asked.definition != nullptr || !asked.frontend.empty()) {
    return gateway->Solve(gateway->job()->activity(), asked);
  }
  // The client drives the build itself and says when it is done.
  const auto bridge = std::make_shared<frontend::Bridge>(gateway, std::move(asked));
  parts_.jobs->SetBridge(job, bridge);
  return bridge->Wait(job->cancel.token());
}

Status BuildSolver::Solve(const LiveJobPtr& job, const pb::SolveRequest& request,
                          pb::SolveResponse* response, BuildOutcome* made) {
  build::JobOptions options;
  options.ref = job->ref;
  if (!request.session().empty()) options.session_ids.push_back(request.session());
  options.sink = job->progress;
  options.entitlements.insert(request.entitlements().begin(), request.entitlements().end());
  TRY_ASSIGN(options.compatibility_version, CompatibilityVersionOf(request));
  if (request.has_sourcepolicy() && request.sourcepolicy().rules_size() > 0) {
    TRY_ASSIGN(build::SourcePolicy policy, build::SourcePolicy::Create({request.sourcepolicy()}));
    options.rewrite_source = [policy = std::make_shared<build::SourcePolicy>(std::move(policy))](
                                 ::pb::SourceOp& source) { return policy->Evaluate(source); };
  }
  TRY(CheckServed(request));
  std::vector<exporter::Request> wanted = ExportersOf(request);
  for (exporter::Request& one : wanted) one.compatibility_version = options.compatibility_version;
  TRY_ASSIGN(exporter::ExporterSet exporters,
             exporter::ExporterSet::Make(parts_.exporters, wanted, request.session()));

  TRY_ASSIGN(const build::JobPtr build, build::Job::Start(*parts_.environment, std::move(options)));
  const CancelLink link(job, build);
  for (const UnservedCache& cache : UnservedCachesOf(request)) {
    progress::VertexScope step(job->progress, *parts_.environment->clock, cache.step);
    (void)step.Finish(cache.why);  // what it says is for readers of the progress alone
  }
  const auto gateway =
      std::make_shared<frontend::Gateway>(*parts_.frontends, build, request.session());
  TRY_ASSIGN(const build::BuildResult result, RunFrontend(job, gateway, request));

  // In gateway mode nothing need have run yet: steps fail here.
  const progress::Activity& activity = build->activity();
  TRY(build::EvaluateAll(activity, result.AllReferences()));

  const auto asked = request.frontendattrs().find("platform");
  TRY_ASSIGN(const std::vector<std::string> warnings,
             exporter::PlatformWarnings(asked != request.frontendattrs().end() ? asked->second : "",
                                        result));
  made->metadata = result.metadata;
  TRY_ASSIGN(exporter::Outcome exported, exporters.Run(activity, result, warnings));
  made->images = std::move(exported.images);
  auto& answer = *response->mutable_exporterresponse();
  for (const auto& [key, value] : exported.response) answer[key] = value;
  for (const auto& [key, value] : result.metadata) {
    if (key.starts_with("frontend.")) answer[key] = value;
  }
  return OkStatus();
}

}  // namespace kiln::control
