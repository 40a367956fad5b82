#include "build/job.h"

#include <algorithm>

#include "base/strings.h"
#include "cdi/registry.h"
#include "llb/caps.h"
#include "llb/source_map.h"
#include "ops/factory.h"

namespace kiln::build {
namespace {

std::optional<progress::Group> GroupOf(const pb::OpMetadata& metadata) {
  if (!metadata.has_progress_group()) return std::nullopt;
  const auto& group = metadata.progress_group();
  return progress::Group{group.id(), group.name(), group.weak()};
}

std::optional<bool> ExportCacheOf(const pb::OpMetadata& metadata) {
  if (!metadata.has_export_cache()) return std::nullopt;
  return metadata.export_cache().value();
}

// "Dockerfile:12", or "" if the definition does not say.
std::string LocationOf(const pb::Definition& definition, const llb::Vertex& vertex) {
  const auto& source = definition.source();
  auto found = source.locations().find(vertex.original.ToString());
  if (found == source.locations().end() || found->second.locations().empty()) return "";
  const auto& location = found->second.locations(0);
  if (location.sourceindex() < 0 || location.sourceindex() >= source.infos_size() ||
      location.ranges().empty()) {
    return "";
  }
  return fmt::format("{}:{}", source.infos(location.sourceindex()).filename(),
                     location.ranges(0).start().line());
}

// An error about one op, with its lines.
Error AtVertex(Error error, const llb::Vertex& vertex, const pb::Definition& definition) {
  std::string digest = vertex.original.ToString();
  error.AddDetail(llb::VertexDetail(digest));
  for (auto& detail : llb::SourceDetails(definition.source(), digest))
    error.AddDetail(std::move(detail));
  return error;
}

// Of a step that runs where devices are disabled: only those that it can do without.
Status DropDevices(llb::Vertex& vertex) {
  pb::ExecOp& exec = *vertex.op.mutable_exec();
  for (const pb::CDIDevice& device : exec.cdidevices()) {
    if (device.optional()) continue;
    const auto& described = vertex.metadata.description();
    const auto name = described.find("llb.customname");
    std::string step =
        Join(std::vector<std::string>(exec.meta().args().begin(), exec.meta().args().end()), " ");
    if (name != described.end() && !name->second.empty()) step = name->second;
    return Unknown("CDI device {} is required by step {}, but CDI device support is disabled",
                   Quoted(device.name()), Quoted(step.empty() ? "exec" : step));
  }
  exec.clear_cdidevices();
  return OkStatus();
}

}  // namespace

// The sessions of a job; steps that several builds share see the union.
class Job::Sessions final : public progress::SessionGroup {
 public:
  explicit Sessions(std::vector<std::string> ids) : ids_(std::move(ids)) {}

  std::vector<std::string> SessionIds() const override {
    MutexLock lock(mutex_);
    return ids_;
  }
  void Add(const std::string& id) {
    MutexLock lock(mutex_);
    if (std::find(ids_.begin(), ids_.end(), id) == ids_.end()) ids_.push_back(id);
  }

 private:
  mutable Mutex mutex_;
  std::vector<std::string> ids_ GUARDED_BY(mutex_);
};

Result<std::shared_ptr<Job>> Job::Start(const Environment& environment, JobOptions options) {
  TRY_ASSIGN(auto entitlements,
             Entitlements::Parse(options.entitlements, environment.allowed_entitlements));
  std::shared_ptr<Job> job(new Job(environment, std::move(options), std::move(entitlements)));
  solver::JobOptions solver_options;
  solver_options.ref = job->ref();
  solver_options.session_ids = job->options().session_ids;
  solver_options.sink = job->options().sink;
  TRY_ASSIGN(job->solver_job_, environment.solver->NewJob(std::move(solver_options)));
  return job;
}

Job::Job(const Environment& environment, JobOptions options, Entitlements entitlements)
    : environment_(environment),
      options_(std::move(options)),
      entitlements_(std::move(entitlements)),
      sessions_(std::make_shared<Sessions>(options_.session_ids)) {
  activity_.cancel = cancel_.token();
  activity_.sessions = sessions_;
  if (options_.sink) activity_.sink = options_.sink;
}

Job::~Job() {
  if (solver_job_) solver_job_->Discard();
}

void Job::AddSession(const std::string& id) {
  sessions_->Add(id);
  solver_job_->AddSession(id);
}

void Job::AddImporter(solver::Importer importer) { solver_job_->AddImporter(std::move(importer)); }

Status Job::CheckEntitlements(const llb::Graph& graph) const {
  for (const auto& vertex : graph.vertices) {
    if (vertex.op.has_exec()) TRY(entitlements_.CheckModes(vertex.op.exec()));
  }
  return OkStatus();
}

Status Job::ResolveDevices(llb::Graph& graph) const {
  std::shared_ptr<const cdi::Catalog> catalog;  // read only if a step asks for devices
  for (auto& vertex : graph.vertices) {
    if (!vertex.op.has_exec() || vertex.op.exec().cdidevices().empty()) continue;
    if (environment_.devices == nullptr) {
      TRY(DropDevices(vertex));
      continue;
    }
    if (!catalog) catalog = environment_.devices->Current();
    TRY(entitlements_.ResolveDevices(*catalog, *vertex.op.mutable_exec()));
  }
  return OkStatus();
}

Result<ReferencePtr> Job::Load(const pb::Definition& definition) {
  TRY(activity_.Check());
  auto shared = std::make_shared<const pb::Definition>(definition);
  if (definition.def_size() == 0) {
    return std::make_shared<Reference>(environment_, solver_job_, std::nullopt, shared,
                                       std::nullopt);
  }
  size_t bytes = definition.ByteSizeLong();
  {
    MutexLock lock(mutex_);
    if (definition_bytes_ + bytes > options_.max_definition_bytes) {
      return ResourceExhausted(
          "failed to load LLB: the build's definitions are larger than {} bytes",
          options_.max_definition_bytes);
    }
    definition_bytes_ += bytes;
  }
  TRY_ASSIGN_CTX(auto graph, LoadGraph(definition, options_.rewrite_source), "failed to load LLB");
  TRY_CTX(CheckEntitlements(graph), "failed to load LLB");
  if (auto resolved = ResolveDevices(graph); !resolved.ok()) {
    return std::make_shared<Reference>(
        environment_, solver_job_, std::move(shared),
        std::move(resolved.error().AddContext("failed to load LLB")));
  }
  std::vector<solver::VertexSpec> specs;
  specs.reserve(graph.vertices.size());
  for (uint32_t index = 0; index < graph.vertices.size(); ++index) {
    const llb::Vertex& vertex = graph.vertices[index];
    if (auto served = llb::CheckCaps(vertex.metadata); !served.ok()) {
      return AtVertex(std::move(served.error().AddContext("failed to load LLB")), vertex,
                      definition);
    }
    auto op = environment_.ops->Make(graph, index, {.location = LocationOf(definition, vertex)});
    if (!op.ok())
      return AtVertex(std::move(op.error().AddContext("failed to load LLB")), vertex, definition);
    solver::VertexSpec spec;
    spec.digest = vertex.original;
    spec.op_digest = vertex.digest.ToString();
    spec.name = vertex.name;
    spec.group = GroupOf(vertex.metadata);
    spec.ignore_cache = vertex.metadata.ignore_cache();
    spec.compatibility_version = options_.compatibility_version;
    spec.export_cache = ExportCacheOf(vertex.metadata);
    for (const auto& input : vertex.inputs)
      spec.inputs.push_back({input.vertex, static_cast<int>(input.output)});
    spec.op = std::move(*op);
    specs.push_back(std::move(spec));
  }
  TRY_ASSIGN_CTX(auto ids, solver_job_->Load(std::move(specs)), "failed to load LLB");
  solver::EdgeId edge{ids[graph.root.vertex], static_cast<int>(graph.root.output)};
  return std::make_shared<Reference>(environment_, solver_job_, edge, std::move(shared),
                                     graph.vertices[graph.root.vertex].platform());
}

Status Job::EnterFrontend() {
  MutexLock lock(mutex_);
  if (frontend_depth_ >= options_.max_frontend_depth) {
    return InvalidArgument("frontends are nested more than {} deep", options_.max_frontend_depth);
  }
  ++frontend_depth_;
  return OkStatus();
}

void Job::LeaveFrontend() {
  MutexLock lock(mutex_);
  --frontend_depth_;
}

void Job::Cancel(Error reason) {
  cancel_.Cancel(reason);
  solver_job_->Cancel(std::move(reason));
}

}  // namespace kiln::build
