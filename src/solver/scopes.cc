#include <algorithm>

#include "solver/engine.h"
#include "solver/failure.h"

namespace kiln::solver {

ScopeState* Engine::FindScope(uint64_t serial) {
  const auto found = scopes_.find(serial);
  return found == scopes_.end() ? nullptr : found->second.get();
}

const ScopeState* Engine::FindScope(uint64_t serial) const {
  const auto found = scopes_.find(serial);
  return found == scopes_.end() ? nullptr : found->second.get();
}

void Engine::OpenJob(uint64_t serial, JobOptions options) {
  auto scope = std::make_unique<ScopeState>();
  scope->serial = serial;
  scope->ref = std::move(options.ref);
  scope->sessions.insert(options.session_ids.begin(), options.session_ids.end());
  if (options.sink == nullptr) options.sink = std::make_shared<progress::NullSink>();
  scope->events = std::make_shared<JobEvents>(std::move(options.sink), faults_);
  for (const Importer& importer : options.importers) {
    scope->importers.push_back(ShareImporter(importer));
  }
  scopes_[serial] = std::move(scope);
}

void Engine::OpenNested(uint64_t serial, const FlightPtr& flight) {
  auto scope = std::make_unique<ScopeState>();
  scope->serial = serial;
  scope->is_job = false;
  scope->flight = flight;
  scope->depth = flight->depth + 1;
  if (flight->state == FlightState::kRunning) flight->scopes.insert(serial);
  if (flight->state != FlightState::kRunning || flight->cancelled) {
    scope->cancelled = Cancelled("{}: nobody wants the run any more", flight->name);
  }
  ++nested_scopes_;
  scopes_[serial] = std::move(scope);
}

void Engine::AddImporter(uint64_t serial, const Importer& importer) {
  ScopeState* scope = FindScope(serial);
  if (scope == nullptr) return;
  scope->importers.push_back(ShareImporter(importer));
  ++importers_version_;
  for (const VertexId& id : scope->vertices) {
    for (auto& [output, edge] : vertices_.at(id)->edges) MarkDirty(*edge);
  }
}

void Engine::SetSession(uint64_t serial, const std::string& id, bool on) {
  ScopeState* scope = FindScope(serial);
  if (scope == nullptr) return;
  if (on)
    scope->sessions.insert(id);
  else
    scope->sessions.erase(id);
  owners_changed_ = true;
}

Result<Edge*> Engine::OwnEdge(const ScopeState& scope, EdgeId id) {
  if (!scope.vertices.contains(id.vertex)) {
    return InvalidArgument("step {} was not loaded by this build", id.ToString());
  }
  Vertex& vertex = *vertices_.at(id.vertex);
  if (id.output < 0 || id.output >= vertex.op->output_count()) {
    return InvalidArgument("{} has no output {}", vertex.name, id.output);
  }
  return &EdgeFor(vertex, id.output);
}

std::set<uint64_t> Engine::JobsOfScope(const ScopeState& scope) const {
  std::set<uint64_t> jobs;
  AddJobsOf(scope.serial, jobs);
  return jobs;
}

void Engine::Get(uint64_t serial, AskId ask, EdgeId id, Callback<ResultHandle> done) {
  ScopeState* scope = FindScope(serial);
  auto refuse = [&](Error error) {
    answers_.push_back([done, error = std::move(error)] { done(error); });
  };
  if (scope == nullptr) return refuse(FailedPrecondition("the build has been discarded"));
  if (scope->cancelled) return refuse(*scope->cancelled);
  auto found = OwnEdge(*scope, id);
  if (!found.ok()) return refuse(found.error());
  Edge& edge = **found;
  edge.roots[ask] = {scope, std::move(done)};
  scope->asks[ask] = &edge;
  waits_changed_ = true;
  MarkDirty(edge);
  if (edge.phase == Phase::kDone) ShowCached(*edge.vertex, false);
  if (!edge.last_error) return;
  const std::set<uint64_t> jobs = JobsOfScope(*scope);
  if (!jobs.empty() &&
      std::includes(edge.failed_for.begin(), edge.failed_for.end(), jobs.begin(), jobs.end())) {
    AnswerRoot(edge, ask, *edge.last_error);
  }
}

void Engine::Withdraw(uint64_t serial, AskId ask, Error reason) {
  ScopeState* scope = FindScope(serial);
  if (scope == nullptr) return;
  const auto found = scope->asks.find(ask);
  if (found == scope->asks.end()) return;
  Edge& edge = *found->second;
  AnswerRoot(edge, ask, std::move(reason));
  MarkDirty(edge);
}

void Engine::CancelScope(ScopeState& scope, const Error& reason) {
  while (!scope.asks.empty()) {
    const auto [ask, edge] = *scope.asks.begin();
    AnswerRoot(*edge, ask, reason);
    MarkDirty(*edge);
  }
  if (!scope.cancelled) scope.cancelled = reason;
  owners_changed_ = true;
  ++importers_version_;
}

void Engine::Cancel(uint64_t serial, const Error& reason) {
  if (ScopeState* scope = FindScope(serial)) CancelScope(*scope, reason);
}

void Engine::Discard(uint64_t serial, std::function<void()> done) {
  if (ScopeState* scope = FindScope(serial)) {
    CancelScope(*scope, Cancelled("the build has been discarded"));
    for (const VertexId& id : scope->vertices) {
      Vertex& vertex = *vertices_.at(id);
      vertex.owners.erase(serial);
      if (vertex.owners.empty()) unowned_.push_back(id);
      if (!faults_.early_release) continue;
      for (auto& [output, edge] : vertex.edges) edge->result = nullptr;
    }
    if (!scope->is_job) {
      scope->flight->scopes.erase(serial);
      --nested_scopes_;
    }
    scopes_.erase(serial);
  }
  if (done) answers_.push_back(std::move(done));
}

}  // namespace kiln::solver
