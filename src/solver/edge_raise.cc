#include <algorithm>

#include "solver/engine.h"

namespace kiln::solver {
namespace {

bool Loadable(const Edge& edge, const SourceMatch& source, const ChildInfo& info) {
  return std::any_of(info.records.begin(), info.records.end(), [&](const RecordInfo& record) {
    return !edge.barred.contains({source.id, record.id});
  });
}

}  // namespace

// Can the input learn no further key without its op being run?
bool Engine::InputExhausted(const Edge& edge, size_t index) const {
  if (ContentKey(edge, index) != nullptr) return true;
  if (edge.vertex->parts.front().inputs[index].has_content_digest) return false;
  return edge.inputs[index].edge->level >= Level::kSlow;
}

bool Engine::AllExhausted(const Edge& edge) const {
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    if (!InputExhausted(edge, i)) return false;
  }
  return true;
}

// Whatever the other inputs may still learn: the exhausted ones have no common child (with
// `records`: none that might have a record to load) in any source.
bool Engine::NoMatchPossible(const Edge& edge, bool records) const {
  if (edge.vertex->is_root()) return false;
  std::vector<size_t> exhausted;
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    if (InputExhausted(edge, i)) exhausted.push_back(i);
  }
  if (exhausted.empty()) return false;
  for (const SourceMatch& source : edge.sources) {
    ChildMap common = ChildrenOf(edge, source, exhausted.front());
    for (size_t k = 1; k < exhausted.size() && !common.empty(); ++k) {
      const ChildMap children = ChildrenOf(edge, source, exhausted[k]);
      std::erase_if(common, [&](const auto& entry) { return !children.contains(entry.first); });
    }
    for (const auto& [child, seq] : common) {
      const auto info = source.info.find(child);
      const bool may_load = info == source.info.end() || !info->second.answered ||
                            Loadable(edge, source, info->second);
      if (!records || may_load) return false;
    }
  }
  return true;
}

// Does any source know one of the root's keys?
bool Engine::RootHit(const Edge& edge) const {
  for (const SourceMatch& source : edge.sources) {
    for (const auto& [id, info] : source.info) {
      if (info.known) return true;
    }
  }
  return false;
}

void Engine::UpdateLevel(Edge& edge) {
  if (edge.vertex->ignore_cache) {
    SetLevel(edge, Level::kSlow);  // no key of its own may be looked up
    return;
  }
  if (!SourcesSettled(edge)) return;
  if (edge.vertex->is_root()) {
    if (edge.vertex->all_parts()) {
      SetLevel(edge, Level::kSlow);
    } else if (RootHit(edge)) {
      SetLevel(edge, Level::kFast);
    } else {
      RequestPart(*edge.vertex);
    }
    return;
  }
  const bool fast = std::all_of(edge.inputs.begin(), edge.inputs.end(), [](const auto& input) {
    return input.edge->level >= Level::kFast;
  });
  if (NoMatchPossible(edge, false) || (fast && AllExhausted(edge))) {
    SetLevel(edge, Level::kSlow);
  } else if (fast) {
    SetLevel(edge, Level::kFast);
  }
}

// Askers have not yet tried the keys that were found: let them, before more is worked out.
bool Engine::KeysUnseen(const Edge& edge) const {
  if (edge.keys.empty()) return false;
  for (const auto& [key, ask] : edge.asks) {
    if (ask.level >= Level::kSlow && ask.seen == edge.keys_version) return false;
  }
  return true;
}

void Engine::RaiseInput(Edge& edge, size_t index, Level level) {
  EdgeInput& input = edge.inputs[index];
  if (input.asked < level) SetAsk(edge, index, level);
  Ask& ask = input.edge->asks.at({edge.serial, index});
  if (ask.seen == input.edge->keys_version) return;
  ask.seen = input.edge->keys_version;
  MarkDirty(*input.edge);
}

// An input none of whose keys leads anywhere: to Slow, then for its content. False if that is
// known, or there is nothing more to learn.
bool Engine::RaiseUnmatched(Edge& edge, size_t index) {
  if (edge.inputs[index].edge->level < Level::kSlow) {
    RaiseInput(edge, index, Level::kSlow);
    return true;
  }
  if (InputExhausted(edge, index)) return false;
  RaiseInput(edge, index, Level::kDone);
  WantDigest(edge, index);
  return true;
}

// Asks inputs for their next level, cheapest first. False if there is nothing left to learn.
bool Engine::Raise(Edge& edge) {
  Vertex& vertex = *edge.vertex;
  if (vertex.is_root()) {
    if (vertex.all_parts()) return false;
    edge.phase = Phase::kKeys;
    RequestPart(vertex);
    return true;
  }
  if (vertex.ignore_cache) return false;
  for (const EdgeInput& input : edge.inputs) {
    if (input.edge->level < Level::kFast) {
      edge.phase = Phase::kKeys;
      return true;
    }
  }
  edge.phase = Phase::kRaise;
  if (edge.goal() < Level::kDone && KeysUnseen(edge)) return true;
  std::vector<bool> unmatched(edge.inputs.size(), true);
  for (const SourceMatch& source : edge.sources) {
    for (size_t i = 0; i < edge.inputs.size(); ++i) {
      if (unmatched[i] && !ChildrenOf(edge, source, i).empty()) unmatched[i] = false;
    }
  }
  // An unmatched input with a content digest ends up Done in any case: for its digest, or for the
  // run. Each goes on by itself, so that steps beside each other run beside each other.
  bool waiting = false;
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    if (unmatched[i]) waiting |= RaiseUnmatched(edge, i);
  }
  if (waiting) return true;
  for (const Level level : {Level::kSlow, Level::kDone}) {
    for (size_t i = 0; i < edge.inputs.size(); ++i) {
      if (unmatched[i] || InputExhausted(edge, i)) continue;
      if (level == Level::kSlow && edge.inputs[i].edge->level >= Level::kSlow) continue;
      RaiseInput(edge, i, level);
      if (level == Level::kDone) WantDigest(edge, i);
      waiting = true;
    }
    if (waiting) return true;
  }
  return false;
}

}  // namespace kiln::solver
