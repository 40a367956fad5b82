#include <algorithm>
#include <limits>

#include "solver/engine.h"
#include "solver/failure.h"
#include "solver/run_context.h"

namespace kiln::solver {

// Per input the local ids, with selectors, that decide which key a run has: the content key where
// it is known.
std::vector<std::vector<std::pair<KeyId, std::string>>> Engine::ResolutionParents(
    const Edge& edge) const {
  std::vector<std::vector<std::pair<KeyId, std::string>>> parents(edge.inputs.size());
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    const KeyNodePtr* content = ContentKey(edge, i);
    for (const Usable& usable : Alternatives(edge, i)) {
      if (content != nullptr && usable.node != *content) continue;
      if (const KeyId* id = usable.node->IdIn(kLocalSource))
        parents[i].emplace_back(*id, usable.selector);
    }
  }
  return parents;
}

// The keys that the run's output has by stored and pending links; those that links were asserted to
// last come first.
std::vector<KeyId> Engine::ResolveOutput(const Edge& edge, int output) const {
  const auto parents = ResolutionParents(edge);
  const SourceMatch& local = edge.sources.front();
  const auto answers = local.answers.find(output);
  const KeyDigest& digest = edge.vertex->parts.front().digest;
  ChildMap common;
  for (size_t i = 0; i < parents.size(); ++i) {
    ChildMap children;
    for (const auto& [parent, selector] : parents[i]) {
      if (answers != local.answers.end() && i < answers->second.size()) {
        const auto found = answers->second[i].find(parent);
        if (found != answers->second[i].end()) {
          for (const LinkChild& child : found->second) {
            uint64_t& seq = children[child.child];
            seq = std::max(seq, child.seq);
          }
        }
      }
      const auto found = pending_.find({parent, static_cast<int>(i), digest, output, selector});
      if (found == pending_.end()) continue;
      for (const auto& [child, count] : found->second) {
        children[child] = std::numeric_limits<uint64_t>::max();
      }
    }
    if (i == 0) {
      common = std::move(children);
      continue;
    }
    KeepCommon(common, children);
  }
  std::vector<std::pair<uint64_t, KeyId>> ranked;
  for (const auto& [child, seq] : common) ranked.emplace_back(seq, child);
  std::sort(ranked.begin(), ranked.end(), std::greater<>());
  std::vector<KeyId> ids;
  for (auto& [seq, child] : ranked) ids.push_back(std::move(child));
  return ids;
}

Engine::Resolved Engine::Resolve(Edge& edge) {
  Resolved resolved;
  const int outputs = edge.vertex->op->output_count();
  resolved.ids.resize(static_cast<size_t>(outputs));
  if (edge.vertex->is_root()) {
    for (int output = 0; output < outputs; ++output) {
      for (const KeyMapPart& part : edge.vertex->parts) {
        resolved.ids[static_cast<size_t>(output)].push_back(
            *KeyNode::Root(part.digest, output, false)->IdIn(kLocalSource));
      }
    }
    return resolved;
  }
  for (const auto& parents : ResolutionParents(edge)) {
    if (parents.empty()) resolved.saved = false;
    if (std::all_of(parents.begin(), parents.end(),
                    [](const auto& parent) { return IsMemoryId(parent.first); })) {
      resolved.memory = true;
    }
  }
  if (!resolved.saved) return resolved;
  for (int output = 0; output < outputs; ++output) {
    auto& ids = resolved.ids[static_cast<size_t>(output)];
    ids = ResolveOutput(edge, output);
    if (!ids.empty()) continue;
    ids.push_back(MintId(resolved.memory));
    resolved.minted.push_back(ids.front());
  }
  return resolved;
}

// Links' left sides from every alternative of every input; the output is filled in later.
std::vector<LinkTuple> Engine::TuplesOf(const Edge& edge) const {
  std::vector<LinkTuple> tuples;
  const KeyDigest& digest = edge.vertex->parts.front().digest;
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    for (const Usable& usable : Alternatives(edge, i)) {
      const KeyId* parent = usable.node->IdIn(kLocalSource);
      if (parent == nullptr) continue;
      tuples.push_back({*parent, static_cast<int>(i), digest, 0, usable.selector});
    }
  }
  if (faults_
          .lost_cross_link) {  // of each input only the last alternative, its content key if known
    for (size_t i = tuples.size(); i-- > 1;) {
      if (tuples[i - 1].input == tuples[i].input)
        tuples.erase(tuples.begin() + static_cast<long>(i) - 1);
    }
  }
  return tuples;
}

FlightPtr Engine::FlightOf(const Resolved& resolved) const {
  for (const auto& ids : resolved.ids) {
    for (const KeyId& id : ids) {
      const auto found = flights_.find(id);
      if (found != flights_.end()) return all_flights_.at(found->second->serial);
    }
  }
  return nullptr;
}

// Is one of the runs that this vertex is solved for the run of the same key?
bool Engine::ContainsItself(const Edge& edge, const Resolved& resolved) const {
  for (const uint64_t serial : EnclosingFlights(*edge.vertex)) {
    const auto flight = all_flights_.find(serial);
    if (flight == all_flights_.end()) continue;
    for (const auto& ids : flight->second->ids) {
      for (const auto& mine : resolved.ids) {
        if (std::find_first_of(ids.begin(), ids.end(), mine.begin(), mine.end()) != ids.end()) {
          return true;
        }
      }
    }
  }
  return false;
}

void Engine::EnterFlight(Edge& edge) {
  const Resolved resolved = Resolve(edge);
  if (ContainsItself(edge, resolved)) {
    Fail(edge,
         WithFailedVertex(FailedPrecondition("{}: build op contains itself", edge.vertex->name),
                          edge.vertex->digest),
         true);
    return;
  }
  const bool forced = edge.vertex->ignore_cache;
  edge.save_only = forced || Tainted(edge);
  const FlightPtr flight = FlightOf(resolved);
  const bool may_follow = (!edge.save_only || faults_.forced_follows) && !edge.solitary;
  if (flight != nullptr && may_follow && (faults_.no_cycle_check || !Reaches(*flight, edge))) {
    Follow(edge, flight);
    return;
  }
  Lead(edge, resolved, edge.solitary || (edge.save_only && !forced) || flight != nullptr);
}

void Engine::AddLinks(Flight& flight, const Edge& edge) {
  if (!flight.saved) return;
  for (LinkTuple& tuple : TuplesOf(edge)) {
    flight.link_tuples.push_back(tuple);
    for (size_t output = 0; output < flight.ids.size(); ++output) {
      tuple.output = static_cast<int>(output);
      ++pending_[tuple][flight.ids[output].front()];
      flight.pending.push_back({tuple, flight.ids[output].front()});
    }
  }
}

void Engine::Follow(Edge& edge, const FlightPtr& flight) {
  AddLinks(*flight, edge);
  edge.phase = Phase::kFollow;
  edge.flight = flight;
  flight->members.push_back(&edge);
  DropWork(edge);
  DropInputAsks(edge);
  owners_changed_ = true;
  waits_changed_ = true;
}

MissReport Engine::MissOf(const Edge& edge) const {
  MissReport miss;
  const Vertex& vertex = *edge.vertex;
  if (vertex.ignore_cache)
    miss.reason = MissReason::kForced;
  else if (edge.lost || !edge.barred.empty())
    miss.reason = MissReason::kLost;
  else if (edge.importer_late)
    miss.reason = MissReason::kImporterLate;
  miss.identity = vertex.op->identity();
  miss.parts = vertex.op->KeyParts();
  for (const KeyMapPart& part : vertex.parts) {
    miss.parts.insert(miss.parts.end(), part.parts.begin(), part.parts.end());
  }
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    KeyPart part;
    part.label = vertex.parts.front().inputs[i].label;
    if (part.label.empty()) part.label = fmt::format("input {}", i);
    if (const KeyNodePtr* content = ContentKey(edge, i)) {
      part.value = (*content)->digest;
    } else if (!edge.inputs[i].edge->keys.empty()) {
      const KeyId* id = edge.inputs[i].edge->keys.front()->IdIn(kLocalSource);
      if (id != nullptr) part.value = *id;
    }
    miss.parts.push_back(std::move(part));
  }
  return miss;
}

void Engine::Lead(Edge& edge, Resolved resolved, bool solitary) {
  auto flight = std::make_shared<Flight>();
  const Vertex& vertex = *edge.vertex;
  flight->serial = NewSerial();
  flight->op = vertex.op;
  flight->name = vertex.name;
  flight->digest = vertex.parts.front().digest;
  flight->ids = std::move(resolved.ids);
  flight->minted = std::move(resolved.minted);
  flight->saved = resolved.saved;
  flight->save_only = edge.save_only;
  flight->forced = vertex.ignore_cache;
  flight->inputs = edge.preparation->handles;
  flight->leader = &edge;
  flight->members.push_back(&edge);
  flight->sink = std::make_shared<FanOut>(options_.backlog_bytes, faults_);
  flight->depth = DepthOf(vertex);
  flight->enclosing = EnclosingFlights(vertex);
  flight->miss = MissOf(edge);
  const ScopeState* build = BuildOf(vertex);
  if (build != nullptr) flight->origin_ref = build->ref;
  if (probe_ != nullptr) ProbeStart(edge, *flight, solitary);
  AddLinks(*flight, edge);
  if (flight->saved && !solitary) {
    flight->registered = true;
    for (const auto& ids : flight->ids) {
      for (const KeyId& id : ids) flights_[id] = flight.get();
    }
  }
  all_flights_[flight->serial] = flight;
  edge.phase = Phase::kFlight;
  edge.flight = flight;
  DropWork(edge);
  if (!faults_.ask_leak) DropInputAsks(edge);
  RefreshFanOut(*flight->sink, {&vertex});
  waits_changed_ = true;
  auto start = [this, weak = std::weak_ptr(flight)] {
    if (const FlightPtr granted = weak.lock()) StartRun(granted);
  };
  flight->resources = resources_.Request(flight->op->needs(), build != nullptr ? build->serial : 0,
                                         std::move(start));
}

void Engine::ProbeStart(const Edge& edge, const Flight& flight, bool solitary) {
  Probe::RunStart start;
  start.flight = flight.serial;
  start.vertex = edge.vertex->id;
  start.output = edge.output;
  start.digest = flight.digest;
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    auto& usable = start.usable.emplace_back();
    for (const Usable& alternative : Alternatives(edge, i)) {
      const KeyId* id = alternative.node->IdIn(kLocalSource);
      if (id != nullptr && alternative.lookup) usable.push_back({*id, alternative.selector});
    }
  }
  start.ids = flight.ids;
  if (edge.vertex->is_root()) start.root_ids = flight.ids[static_cast<size_t>(edge.output)];
  start.forced = flight.forced;
  start.save_only = flight.save_only;
  start.solitary = solitary;
  start.barred.assign(edge.barred.begin(), edge.barred.end());
  probe_->OnRunStart(start);
}

void Engine::StartRun(const FlightPtr& flight) {
  flight->state = FlightState::kRunning;
  flight->started = clock_.Now();
  flight->sink->Start(flight->started);
  flight->context = std::make_shared<RunContextImpl>(weak_from_this(), flight);
  std::weak_ptr<Engine> weak = weak_from_this();
  TaskQueue* loop = &loop_;
  // The flight, and so the op, stays until the run has answered, whoever else gives it up.
  flight->op->Run(flight->context, [weak, loop, flight](Result<RunOutput> output) {
    loop->Post([weak, flight, output = std::move(output)]() mutable {
      const auto engine = weak.lock();
      if (engine == nullptr) return;
      engine->OnRunDone(flight, std::move(output));
      engine->Pump();
    });
  });
}

void Engine::LeaveFlight(Edge& edge) {
  const FlightPtr flight = std::exchange(edge.flight, nullptr);
  if (flight == nullptr || flight->state == FlightState::kEnded) return;
  std::erase(flight->members, &edge);
  if (flight->leader == &edge) flight->leader = nullptr;
  owners_changed_ = true;
  if (!flight->members.empty() || flight->cancelled) return;
  if (flight->state == FlightState::kCommitting) return;
  flight->cancelled = true;
  if (!faults_.cancel_not_told) flight->cancel.Cancel();
  for (const uint64_t scope : flight->scopes) {
    CancelScope(*FindScope(scope), Cancelled("{}: nobody wants the run any more", flight->name));
  }
  if (flight->state != FlightState::kQueued) return;
  resources_.Release(flight->resources);
  if (probe_ != nullptr) probe_->OnRunWithdrawn(flight->serial);
  EndFlight(flight, true);
}

}  // namespace kiln::solver
