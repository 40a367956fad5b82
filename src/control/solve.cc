#include "control/solve.h"

#include "base/parallel.h"
#include "base/strings.h"
#include "build/job.h"
#include "build/source_policy.h"

namespace kiln::control {
namespace {

namespace pb = moby::buildkit::v1;

constexpr int kNewestCompatibility = 30;
constexpr char kEpochArgument[] = "build-arg:SOURCE_DATE_EPOCH";
constexpr char kEpochAttribute[] = "source-date-epoch";

frontend::Request RequestOf(const pb::SolveRequest& from) {
  frontend::Request request;
  if (from.has_definition() && from.definition().def_size() > 0) {
    request.definition = std::make_shared<const ::pb::Definition>(from.definition());
  }
  request.frontend = from.frontend();
  request.opts.insert(from.frontendattrs().begin(), from.frontendattrs().end());
  for (const auto& [name, definition] : from.frontendinputs()) {
    request.inputs[name] = std::make_shared<const ::pb::Definition>(definition);
  }
  return request;
}

// "attest:sbom" and "attest:provenance" may be given only to say that there shall be none.
bool IsDisabledAttestation(std::string_view value) {
  for (const std::string_view part : Split(value, ',')) {
    const auto pair = Cut(part, "=");
    if (pair && pair->first == "disabled" && ParseBool(pair->second).value_or(false)) return true;
  }
  return value == "false";
}

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

std::vector<exporter::Request> ExportersOf(const pb::SolveRequest& request) {
  std::vector<exporter::Request> exporters;
  for (const pb::Exporter& from : request.exporters()) {
    exporters.push_back({from.type(), {from.attrs().begin(), from.attrs().end()}});
  }
  // Clients send both; the old pair repeats the first of the new ones.
  if (exporters.empty() && !request.exporterdeprecated().empty()) {
    const auto& attrs = request.exporterattrsdeprecated();
    exporters.push_back({request.exporterdeprecated(), {attrs.begin(), attrs.end()}});
  }
  const auto epoch = request.frontendattrs().find(kEpochArgument);
  if (epoch == request.frontendattrs().end()) return exporters;
  if (!epoch->second.empty() && !ParseInt(epoch->second)) return exporters;
  for (exporter::Request& one : exporters) one.attrs.emplace(kEpochAttribute, epoch->second);
  return exporters;
}

Result<int> CompatibilityVersionOf(const pb::SolveRequest& request) {
  const int64_t version = request.compatibilityversion();
  if (version == 0) return kNewestCompatibility;
  if (version == 10 || version == 20 || version == 30) return static_cast<int>(version);
  if (version > kNewestCompatibility) {
    return InvalidArgument(
        "unsupported compatibility-version {}, upgrade buildkit (max supported: {})", version,
        kNewestCompatibility);
  }
  return InvalidArgument("unsupported compatibility-version {}", version);
}

Status CheckServed(const pb::SolveRequest& request) {
  const pb::CacheOptions& cache = request.cache();
  for (const pb::CacheOptionsEntry& entry : cache.exports()) {
    return Unimplemented("exporting cache to \"{}\" is not supported by this build server",
                         entry.type());
  }
  for (const pb::CacheOptionsEntry& entry : cache.imports()) {
    return Unimplemented("importing cache from \"{}\" is not supported by this build server",
                         entry.type());
  }
  if (!cache.exportrefdeprecated().empty() || cache.importrefsdeprecated_size() > 0) {
    return Unimplemented("cache import and export are not supported by this build server");
  }
  for (const auto& [key, value] : request.frontendattrs()) {
    if (key.starts_with("attest:") && !IsDisabledAttestation(value)) {
      return Unimplemented("{} is not supported by this build server", key);
    }
  }
  if (request.enablesessionexporter())
    return Unimplemented("session exporters are not supported by this build server");
  if (!request.sourcepolicysession().empty()) {
    return Unimplemented("source policies of a session are not supported by this build server");
  }
  if (request.proxynetwork())
    return Unimplemented("the proxy network is not supported by this build server");
  return OkStatus();
}

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
                          pb::SolveResponse* response) {
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
  TRY_ASSIGN(
      exporter::ExporterSet exporters,
      exporter::ExporterSet::Make(parts_.exporters, ExportersOf(request), request.session()));

  TRY_ASSIGN(const build::JobPtr build, build::Job::Start(*parts_.environment, std::move(options)));
  const CancelLink link(job, build);
  const auto gateway =
      std::make_shared<frontend::Gateway>(*parts_.frontends, build, request.session());
  TRY_ASSIGN(const build::BuildResult result, RunFrontend(job, gateway, request));

  // In gateway mode nothing need have run yet: steps fail here.
  const progress::Activity& activity = build->activity();
  const std::vector<build::ReferencePtr> references = result.AllReferences();
  TRY(ForEachParallel(*parts_.environment->blocking, references.size(), references.size(),
                      [&](size_t i) -> Status {
                        auto snapshot = references[i]->Evaluate(activity);
                        if (!snapshot.ok()) return std::move(snapshot).error();
                        return OkStatus();
                      }));

  TRY_ASSIGN(const auto exported, exporters.Run(activity, result));
  auto& answer = *response->mutable_exporterresponse();
  for (const auto& [key, value] : exported) answer[key] = value;
  for (const auto& [key, value] : result.metadata) {
    if (key.starts_with("frontend.")) answer[key] = value;
  }
  return OkStatus();
}

}  // namespace kiln::control
