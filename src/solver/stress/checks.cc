#include "solver/stress/checks.h"

#include <algorithm>

#include "base/strings.h"

namespace kiln::solver::stress {

void CheckedSink::OnVertex(const progress::Vertex& vertex) {
  const bool known = vertices_.contains(vertex.digest);
  State& state = vertices_[vertex.digest];
  if (!vertex.started) {
    if (known) Fail(vertex.name + " announced twice");
    if (vertex.completed) Fail(vertex.name + " completed without start");
    return;
  }
  if (!known) Fail(vertex.name + " started before it was announced");
  const int64_t at = UnixNanos(*vertex.started);
  if (!vertex.completed) {
    state.open.insert(at);
    return;
  }
  if (*vertex.completed < *vertex.started) Fail(vertex.name + " completed before it started");
  ++state.completed;
  const auto open = state.open.find(at);
  if (open != state.open.end()) {
    state.open.erase(open);
  } else if (!vertex.cached || *vertex.completed != *vertex.started) {
    Fail(vertex.name + " completed without that start");
  }
}

void CheckedSink::OnLog(const progress::VertexLog& log) {
  const auto vertex = vertices_.find(log.vertex);
  if (vertex == vertices_.end()) return Fail("log of a step that was not announced");
  if (vertex->second.open.empty()) Fail("log of a step that is not running");
  const size_t space = log.data.find(' ');
  const int run = std::stoi(log.data.substr(0, space));
  const int line = std::stoi(log.data.substr(space + 1));
  int& next = vertex->second.lines[run];
  if (line != next) Fail(fmt::format("run {}: line {} where {} should come", run, line, next));
  next = line + 1;
}

void CheckedSink::End() {
  for (const auto& [digest, state] : vertices_) {
    if (!state.open.empty()) Fail("a start was never completed");
  }
}

void CheckedSink::Delivered(const Digest& digest) {
  const auto vertex = vertices_.find(digest);
  if (vertex == vertices_.end())
    Fail("a result of a step that was not announced");
  else if (vertex->second.completed == 0 && vertex->second.open.empty()) {
    Fail("a result of a step that was neither completed nor seen running");
  }
}

std::set<KeyId> Oracle::LoadableChildren(const RunStart& start) const {
  std::set<KeyId> common(start.root_ids.begin(), start.root_ids.end());
  for (size_t i = 0; i < start.usable.size(); ++i) {
    std::set<KeyId> children;
    for (const Alternative& alternative : start.usable[i]) {
      children.merge(store_.ToldChildren({alternative.parent, static_cast<int>(i), start.digest,
                                          start.output, alternative.selector}));
    }
    if (i == 0) {
      common = std::move(children);
    } else {
      std::erase_if(common, [&](const KeyId& id) { return !children.contains(id); });
    }
  }
  std::erase_if(common, [&](const KeyId& id) { return !store_.ToldRecord(id, start.barred); });
  return common;
}

const KeyId* Oracle::IdOf(const RunStart& start) {
  const auto& ids = start.ids[static_cast<size_t>(start.output)];
  return ids.empty() ? nullptr : &ids.front();
}

void Oracle::OnRunStart(const RunStart& start) {
  starts_[start.flight] = start;
  const auto vertex = vertices_.find(start.vertex);
  field_.book.Trace(fmt::format(
      "flight {} of {} ({}){}{}{}", start.flight,
      vertex == vertices_.end() ? "nested" : vertex->second.first->identity,
      start.ids.empty() || start.ids.front().empty() ? "no id" : start.ids.front().front(),
      start.forced ? " forced" : "", start.save_only ? " save-only" : "",
      start.solitary ? " alone" : ""));
  if (const KeyId* id = IdOf(start)) {
    ++field_.book.starts[*id];
    // Known to be of a stored key only by links of a run that goes on: a late equality.
    const bool late = store_.ToldRecord(*id, start.barred);
    if (start.forced || start.save_only || start.solitary || late) ++field_.book.excuses[*id];
  }
  if (start.forced) return;
  const std::set<KeyId> children = LoadableChildren(start);
  if (children.empty()) return;
  field_.book.Fail("no miss", fmt::format("a run of output {} begins though {} is stored",
                                          start.output, *children.begin()));
}

void Oracle::Excuse(uint64_t flight) {
  const auto found = starts_.find(flight);
  if (found == starts_.end()) return;
  if (const KeyId* id = IdOf(found->second)) ++field_.book.excuses[*id];
}

void Oracle::OnRunWithdrawn(uint64_t flight) { Excuse(flight); }

void Oracle::OnHit(const Hit& hit) {
  ++hits;
  if (lost_.contains({hit.edge, hit.source, hit.record.id})) {
    field_.book.Fail("repair", "a record that was lost is used again");
  }
  for (const auto& [seq, rival] : hit.rivals) {
    if (seq > hit.seq || (seq == hit.seq && rival.created > hit.record.created)) {
      field_.book.Fail("pairing", fmt::format("record {} is chosen, {} was asserted later",
                                              hit.record.id, rival.id));
    }
  }
  const MemoryCache& core = hit.source == 0 ? store_.core() : *imported_;
  const PayloadPtr payload = PayloadOf(core, hit.record.id);
  if (payload == nullptr) return;
  const RunRecord& run = field_.book.runs[static_cast<size_t>(payload->run)];
  field_.book.Trace(fmt::format("hit of run {} from source {}", run.id, hit.source));
  for (size_t i = 0; i < hit.content.size() && i < run.reads.size(); ++i) {
    if (hit.content[i].empty()) continue;
    if (ContentKeyId(ContentText(run.reads[i])) != hit.content[i]) {
      field_.book.Fail("pairing", fmt::format("run {} ({}) read other content than input {} has",
                                              run.id, run.d.substr(0, 12), i));
    }
  }
}

void Oracle::CheckWaste() {
  std::map<KeyId, std::string> d_of;
  for (const auto& [flight, start] : starts_) {
    if (const KeyId* id = IdOf(start)) d_of[*id] = start.digest;
  }
  for (const auto& [id, starts] : field_.book.starts) {
    if (id.starts_with("m:")) continue;  // kept for as long as somebody holds the result
    const int allowed = 1 + field_.book.excuses[id] + field_.book.failed[d_of[id]];
    if (starts > allowed) {
      field_.book.Fail("no waste", fmt::format("{} ran {} times, {} allowed", id, starts, allowed));
    }
  }
}

bool Justifier::InputMatches(const JobPlan& job, const Node::In& in, const RunRecord& run,
                             size_t index) {
  if (run.selectors[index] == in.selector && Holds(job, in.node, in.output, run.inputs[index])) {
    return true;
  }
  if (!in.content) return false;
  for (const PayloadPtr& other : book_.payloads) {
    if (other->output != in.output) continue;
    if (other->value.Read(in.selector) != run.reads[index]) continue;
    if (Holds(job, in.node, in.output, other)) return true;
  }
  return false;
}

bool Justifier::Chain(const JobPlan& job, const Node& node, int output, const PayloadPtr& payload) {
  const RunRecord& run = book_.runs[static_cast<size_t>(payload->run)];
  if (payload->output != output || run.d != node.d) return false;
  for (size_t i = 0; i < node.in.size(); ++i) {
    if (!InputMatches(job, node.in[i], run, i)) return false;
  }
  if (node.nested < 0) return true;
  return run.nested != nullptr && Holds(universe_.Canonical(), node.nested, 0, run.nested);
}

bool Justifier::Holds(const JobPlan& job, int id, int output, const PayloadPtr& payload) {
  const auto key = std::make_tuple(job.id, id, output, payload.get());
  if (const auto known = known_.find(key); known != known_.end()) return known->second;
  const Node& node = universe_.nodes[static_cast<size_t>(id)];
  const bool holds = node.source != SourceKind::kNone || universe_.Deterministic(id)
                         ? universe_.Evaluate(job, id, output) == payload->value
                         : Chain(job, node, output, payload);
  return known_[key] = holds;
}

}  // namespace kiln::solver::stress
