#include "solver/events.h"

#include "solver/fault_plan.h"

namespace kiln::solver {

void JobEvents::Announce(const Digest& digest, const std::vector<Digest>& inputs,
                         const std::string& name, const std::optional<progress::Group>& group) {
  const auto [found, fresh] = vertices_.try_emplace(digest);
  if (!fresh) return;
  progress::Vertex& vertex = found->second.vertex;
  vertex.digest = digest;
  vertex.inputs = inputs;
  vertex.name = name;
  vertex.group = group;
  sink_->OnVertex(vertex);
}

void JobEvents::Start(const Digest& digest, WallTime at) {
  const auto found = vertices_.find(digest);
  if (found == vertices_.end()) return;
  State& state = found->second;
  ShowInputsCached(state, at);
  state.shown = true;
  ++state.open;
  progress::Vertex vertex = state.vertex;
  vertex.started = at;
  sink_->OnVertex(vertex);
}

void JobEvents::Complete(const Digest& digest, WallTime started, WallTime at,
                         const std::string& error, bool cached) {
  const auto found = vertices_.find(digest);
  if (found == vertices_.end() || found->second.open == 0) return;
  --found->second.open;
  progress::Vertex vertex = found->second.vertex;
  vertex.started = started;
  vertex.completed = std::max(started, at);
  vertex.error = error;
  vertex.cached = cached;
  sink_->OnVertex(vertex);
  if (faults_.double_completion) sink_->OnVertex(vertex);
}

void JobEvents::Cached(const Digest& digest, WallTime at, bool again) {
  const auto found = vertices_.find(digest);
  if (found == vertices_.end() || found->second.open > 0) return;
  if (found->second.shown && !again) return;
  ShowInputsCached(found->second, at);
  EmitCached(found->second, at);
}

void JobEvents::EmitCached(State& state, WallTime at) {
  state.shown = true;
  progress::Vertex vertex = state.vertex;
  vertex.started = at;
  vertex.completed = at;
  vertex.cached = true;
  sink_->OnVertex(vertex);
}

void JobEvents::ShowInputsCached(const State& state, WallTime at) {
  std::vector<const State*> todo{&state};
  while (!todo.empty()) {
    const State* next = todo.back();
    todo.pop_back();
    for (const Digest& input : next->vertex.inputs) {
      const auto found = vertices_.find(input);
      if (found == vertices_.end() || found->second.shown) continue;
      EmitCached(found->second, at);
      todo.push_back(&found->second);
    }
  }
}

}  // namespace kiln::solver
