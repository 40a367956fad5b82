#include <algorithm>

#include "solver/engine.h"
#include "solver/scope_handle.h"

namespace kiln::solver {

Result<std::vector<VertexId>> Identify(const std::vector<VertexSpec>& graph, uint64_t salt) {
  std::vector<VertexId> ids;
  ids.reserve(graph.size());
  for (size_t i = 0; i < graph.size(); ++i) {
    const VertexSpec& spec = graph[i];
    if (spec.op == nullptr) return InvalidArgument("{}: step without op", spec.name);
    Sha256 hash;
    hash.Update("kiln.vertex.v1");
    auto add = [&](std::string_view text) {
      const std::string size = fmt::format("\n{}:", text.size());
      hash.Update(size).Update(text);
    };
    add(spec.op_digest);
    add(spec.ignore_cache ? fmt::format("ignore-cache {}", salt) : "");
    add(fmt::format("{}", spec.compatibility_version));
    for (const VertexSpec::Input& input : spec.inputs) {
      if (input.vertex >= i) {
        return InvalidArgument("{}: input {} does not stand before it", spec.name, input.vertex);
      }
      if (input.output < 0 || input.output >= graph[input.vertex].op->output_count()) {
        return InvalidArgument("{}: {} has no output {}", spec.name, graph[input.vertex].name,
                               input.output);
      }
      add(fmt::format("{}@{}", ids[input.vertex], input.output));
    }
    ids.push_back(hash.Finish());
  }
  return ids;
}

Edge& Engine::EdgeFor(Vertex& vertex, int output) {
  std::unique_ptr<Edge>& edge = vertex.edges[output];
  if (edge == nullptr) {
    edge = std::make_unique<Edge>();
    edge->serial = NewSerial();
    edge->vertex = &vertex;
    edge->output = output;
    for (const Vertex::Input& input : vertex.inputs) {
      edge->inputs.push_back({&EdgeFor(*input.vertex, input.output)});
    }
  }
  return *edge;
}

Vertex& Engine::AddVertex(const VertexSpec& spec, VertexId id, const std::vector<VertexId>& ids) {
  auto vertex = std::make_unique<Vertex>();
  vertex->id = id;
  vertex->digest = spec.digest;
  vertex->name = spec.name;
  vertex->ignore_cache = spec.ignore_cache;
  vertex->op = spec.op;
  vertex->digests.resize(spec.inputs.size());
  for (const VertexSpec::Input& input : spec.inputs) {
    Vertex& from = *vertices_.at(ids[input.vertex]);
    EdgeFor(from, input.output);
    vertex->inputs.push_back({&from, input.output});
  }
  return *(vertices_[id] = std::move(vertex));
}

void Engine::Load(uint64_t serial, std::vector<VertexSpec> graph, std::vector<VertexId> ids) {
  ScopeState* scope = FindScope(serial);
  if (scope == nullptr) return;
  for (size_t i = 0; i < graph.size(); ++i) {
    const VertexSpec& spec = graph[i];
    const auto known = vertices_.find(ids[i]);
    Vertex& vertex = known != vertices_.end() ? *known->second : AddVertex(spec, ids[i], ids);
    if (vertex.op != spec.op) vertex.op->MergeTwin(*spec.op);
    Vertex::Owner& owner = vertex.owners[serial];
    owner.digest = spec.digest;
    owner.name = spec.name;
    owner.group = spec.group;
    owner.export_cache = spec.export_cache;
    owner.inputs.clear();
    for (const VertexSpec::Input& input : spec.inputs) {
      owner.inputs.push_back(graph[input.vertex].digest);
    }
    scope->vertices.insert(ids[i]);
    std::vector<FanOut::Target> targets;  // announces
    std::set<std::string> sessions;
    CollectTargets(vertex, targets, sessions);
  }
  ++importers_version_;
  owners_changed_ = true;
}

void Engine::DestroyVertex(Vertex& vertex) {
  for (auto& [output, edge] : vertex.edges) {
    edge->asks.clear();
    LeaveFlight(*edge);
    DropWork(*edge);
    DropInputAsks(*edge);
  }
  DropTicket(vertex.key_map);
  for (InputDigest& digest : vertex.digests) DropTicket(digest.ticket);
  if (!vertex.is_root()) return;
  for (const KeyMapPart& part : vertex.parts) {
    if (!IsRandom(part.digest)) continue;
    for (int output = 0; output < vertex.op->output_count(); ++output) {
      local_.ReleaseRoot(*KeyNode::Root(part.digest, output, false)->IdIn(kLocalSource));
    }
  }
}

void Engine::DestroyUnowned() {
  std::set<VertexId> dying;
  for (const VertexId& id : std::exchange(unowned_, {})) {
    const auto found = vertices_.find(id);
    if (found != vertices_.end() && found->second->owners.empty()) dying.insert(id);
  }
  for (const VertexId& id : dying) DestroyVertex(*vertices_.at(id));
  std::erase_if(dirty_, [&](const Edge* edge) { return dying.contains(edge->vertex->id); });
  std::erase_if(failing_,
                [&](const auto& entry) { return dying.contains(entry.first->vertex->id); });
  for (const VertexId& id : dying) vertices_.erase(id);
}

}  // namespace kiln::solver
