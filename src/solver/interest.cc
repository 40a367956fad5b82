#include <algorithm>

#include "solver/engine.h"
#include "solver/failure.h"

namespace kiln::solver {

void Engine::AddJobsOf(uint64_t scope, std::set<uint64_t>& jobs) const {
  std::vector<uint64_t> todo{scope};
  std::set<uint64_t> seen;
  while (!todo.empty()) {
    const uint64_t serial = todo.back();
    todo.pop_back();
    const ScopeState* state = FindScope(serial);
    if (state == nullptr || !seen.insert(serial).second) continue;
    if (state->is_job) {
      jobs.insert(serial);
    } else {
      for (const Edge* member : state->flight->members) {
        for (const uint64_t job : JobsWanting(*member)) jobs.insert(job);
      }
    }
  }
}

// The jobs that, through askers or runs, want the edge now.
std::set<uint64_t> Engine::JobsWanting(const Edge& edge) const {
  std::set<uint64_t> jobs;
  std::vector<const Edge*> todo{&edge};
  std::set<uint64_t> seen;
  while (!todo.empty()) {
    const Edge* next = todo.back();
    todo.pop_back();
    if (!seen.insert(next->serial).second) continue;
    for (const auto& [key, ask] : next->asks) todo.push_back(ask.asker);
    for (const auto& [id, root] : next->roots) {
      if (root.scope->is_job) {
        jobs.insert(root.scope->serial);
      } else {
        for (const Edge* member : root.scope->flight->members) todo.push_back(member);
      }
    }
  }
  return jobs;
}

// Follows waits (edge → input, member → flight, run → nested edge) from these edges.
bool Engine::Walk(std::vector<const Edge*> todo, const Edge& target) const {
  std::set<uint64_t> seen;
  while (!todo.empty()) {
    const Edge* next = todo.back();
    todo.pop_back();
    if (next == &target) return true;
    if (next->phase == Phase::kDone || !seen.insert(next->serial).second) continue;
    for (const EdgeInput& input : next->inputs) {
      if (input.asked > input.edge->level) todo.push_back(input.edge);
    }
    if (next->flight == nullptr) continue;
    for (const uint64_t serial : next->flight->scopes) {
      for (const auto& [ask, edge] : FindScope(serial)->asks) todo.push_back(edge);
    }
  }
  return false;
}

bool Engine::EdgeReaches(const Edge& from, const Edge& target) const {
  return Walk({&from}, target);
}

bool Engine::Reaches(const Flight& from, const Edge& target) const {
  std::vector<const Edge*> todo;
  for (const uint64_t serial : from.scopes) {
    for (const auto& [ask, edge] : FindScope(serial)->asks) todo.push_back(edge);
  }
  return Walk(std::move(todo), target);
}

// New waits may have closed a cycle through a run's nested graph: a follower in it flies alone; a
// nested edge that needs the very step it is solved for cannot be had.
void Engine::BreakCycles() {
  if (nested_scopes_ == 0 || faults_.no_cycle_check) return;
  const std::map<uint64_t, FlightPtr> flights = all_flights_;
  for (const auto& [serial, flight] : flights) {
    if (flight->scopes.empty()) continue;
    const std::vector<Edge*> members = flight->members;
    for (Edge* member : members) {
      if (member == flight->leader || !Reaches(*flight, *member)) continue;
      LeaveFlight(*member);
      member->solitary = true;
      member->phase = Phase::kNeed;
      MarkDirty(*member);
    }
    if (flight->leader == nullptr || !Reaches(*flight, *flight->leader)) continue;
    for (const uint64_t scope : flight->scopes) {
      const std::map<AskId, Edge*> asks = FindScope(scope)->asks;
      for (const auto& [ask, edge] : asks) {
        if (!EdgeReaches(*edge, *flight->leader)) continue;
        AnswerRoot(*edge, ask, FailedPrecondition("{}: build op contains itself", flight->name));
        MarkDirty(*edge);
      }
    }
  }
}

// All scopes that a vertex is owned by, directly or through the runs it is nested in.
std::set<uint64_t> Engine::ScopesOver(const Vertex& vertex) const {
  std::set<uint64_t> scopes;
  std::vector<uint64_t> todo;
  for (const auto& [serial, owner] : vertex.owners) todo.push_back(serial);
  while (!todo.empty()) {
    const uint64_t serial = todo.back();
    todo.pop_back();
    const ScopeState* state = FindScope(serial);
    if (state == nullptr || state->cancelled || !scopes.insert(serial).second) continue;
    if (state->is_job) continue;
    for (const Edge* member : state->flight->members) {
      for (const auto& [over, owner] : member->vertex->owners) todo.push_back(over);
    }
  }
  return scopes;
}

const ScopeState* Engine::BuildOf(const Vertex& vertex) const {
  for (const uint64_t serial : ScopesOver(vertex)) {
    const ScopeState* scope = FindScope(serial);
    if (scope->is_job) return scope;
  }
  return nullptr;
}

void Engine::CollectTargets(const Vertex& vertex, std::vector<FanOut::Target>& targets,
                            std::set<std::string>& sessions) const {
  for (const auto& [direct, owner] : vertex.owners) {
    std::set<uint64_t> seen;
    std::vector<uint64_t> todo{direct};
    while (!todo.empty()) {
      const uint64_t serial = todo.back();
      todo.pop_back();
      const ScopeState* state = FindScope(serial);
      if (state == nullptr || state->cancelled || !seen.insert(serial).second) continue;
      if (!state->is_job) {
        for (const Edge* member : state->flight->members) {
          for (const auto& [over, unused] : member->vertex->owners) todo.push_back(over);
        }
        continue;
      }
      sessions.insert(state->sessions.begin(), state->sessions.end());
      state->events->Announce(owner.digest, owner.inputs, owner.name, owner.group);
      FanOut::Target target{serial, owner.digest, state->events};
      if (std::find(targets.begin(), targets.end(), target) == targets.end()) {
        targets.push_back(std::move(target));
      }
    }
  }
}

void Engine::RefreshFanOut(FanOut& sink, const std::vector<const Vertex*>& vertices) {
  std::vector<FanOut::Target> targets;
  std::set<std::string> sessions;
  for (const Vertex* vertex : vertices) CollectTargets(*vertex, targets, sessions);
  sink.Set(std::move(targets), {sessions.begin(), sessions.end()}, clock_.Now());
}

void Engine::RefreshFanOuts() {
  for (const auto& [serial, open] : open_tickets_) {
    if (open.second != nullptr) RefreshFanOut(*open.first->sink, {open.second});
  }
  for (const auto& [serial, flight] : all_flights_) {
    std::vector<const Vertex*> vertices;
    for (const Edge* member : flight->members) vertices.push_back(member->vertex);
    RefreshFanOut(*flight->sink, vertices);
    // Steps of nested graphs are announced to builds that join.
    for (const uint64_t scope : flight->scopes) {
      for (const VertexId& id : FindScope(scope)->vertices) {
        std::vector<FanOut::Target> targets;
        std::set<std::string> sessions;
        CollectTargets(*vertices_.at(id), targets, sessions);
      }
    }
  }
}

void Engine::ShowCached(const Vertex& vertex, bool again) {
  std::vector<FanOut::Target> targets;
  std::set<std::string> sessions;
  CollectTargets(vertex, targets, sessions);
  const WallTime now = clock_.Now();
  for (const FanOut::Target& target : targets) target.events->Cached(target.vertex, now, again);
}

std::vector<ImporterPtr> Engine::ImportersOf(const Vertex& vertex) const {
  std::vector<ImporterPtr> importers;
  for (const uint64_t serial : ScopesOver(vertex)) {
    for (const ImporterPtr& importer : FindScope(serial)->importers) {
      if (std::find(importers.begin(), importers.end(), importer) == importers.end()) {
        importers.push_back(importer);
      }
    }
  }
  std::sort(importers.begin(), importers.end(),
            [](const ImporterPtr& a, const ImporterPtr& b) { return a->id < b->id; });
  return importers;
}

ImporterPtr Engine::ShareImporter(const Importer& importer) {
  std::weak_ptr<ImporterState>& known = importers_[importer.source.get()];
  if (ImporterPtr shared = known.lock()) return shared;
  auto state = std::make_shared<ImporterState>();
  std::erase_if(importers_, [&](const auto& entry) {
    return entry.second.expired() && entry.first != importer.source.get();
  });
  state->id = next_importer_++;
  state->source = importer.source;
  state->patience = importer.patience;
  known = state;
  return state;
}

int Engine::DepthOf(const Vertex& vertex) const {
  int depth = 0;
  for (const auto& [serial, owner] : vertex.owners) {
    if (const ScopeState* scope = FindScope(serial)) depth = std::max(depth, scope->depth);
  }
  return depth;
}

std::set<uint64_t> Engine::EnclosingFlights(const Vertex& vertex) const {
  std::set<uint64_t> flights;
  for (const auto& [serial, owner] : vertex.owners) {
    const ScopeState* scope = FindScope(serial);
    if (scope == nullptr || scope->is_job) continue;
    flights.insert(scope->flight->serial);
    flights.insert(scope->flight->enclosing.begin(), scope->flight->enclosing.end());
  }
  return flights;
}

}  // namespace kiln::solver
