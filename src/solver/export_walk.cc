#include "solver/export_walk.h"

#include <algorithm>

#include "solver/engine.h"
#include "solver/key_node.h"

namespace kiln::solver {

ExportWalk::ExportWalk(TaskQueue& loop, LocalCacheSourcePtr local, std::map<KeyId, Live> live,
                       std::vector<std::vector<KeyId>> roots, Callback<ExportGraph> done)
    : loop_(loop),
      local_(std::move(local)),
      live_(std::move(live)),
      roots_(std::move(roots)),
      done_(std::move(done)) {}

void ExportWalk::Start() {
  for (const auto& ids : roots_) {
    for (const KeyId& id : ids) {
      if (nodes_.try_emplace(id).second) todo_.push_back(id);
    }
  }
  NextLevel();
}

void ExportWalk::NextLevel() {
  if (todo_.empty()) {
    Finish();
    return;
  }
  const std::vector<KeyId> ids = std::exchange(todo_, {});
  auto self = shared_from_this();
  auto on_records = [self, ids](Result<std::vector<KeyInfo>> records) {
    self->loop_.Post([self, ids, records = std::move(records)] {
      if (!records.ok()) return self->done_(records.error());
      for (size_t i = 0; i < ids.size() && i < records->size(); ++i) {
        self->nodes_[ids[i]].info = (*records)[i];
      }
      self->NextLevel();
    });
  };
  local_->Parents(ids, [self, ids, on_records](Result<std::vector<std::vector<ParentLink>>> links) {
    self->loop_.Post([self, ids, on_records, links = std::move(links)] {
      if (!links.ok()) return self->done_(links.error());
      for (size_t i = 0; i < ids.size() && i < links->size(); ++i) {
        for (const ParentLink& link : (*links)[i]) {
          if (self->nodes_.try_emplace(link.tuple.parent).second) {
            self->todo_.push_back(link.tuple.parent);
          }
        }
        self->nodes_[ids[i]].parents = (*links)[i];
      }
      self->local_->Records(ids, {}, on_records);
    });
  });
}

// Depth first; a link that would close a cycle (no honest source has one) is not followed.
std::vector<KeyId> ExportWalk::InputsFirst() const {
  std::vector<KeyId> order;
  std::map<KeyId, int> state;  // 1: open, 2: done
  for (const auto& [id, unused] : nodes_) {
    std::vector<std::pair<KeyId, size_t>> stack{{id, 0}};
    while (!stack.empty()) {
      auto& [at, next] = stack.back();
      int& mine = state[at];
      if (mine == 2) {
        stack.pop_back();
        continue;
      }
      mine = 1;
      const auto& parents = nodes_.at(at).parents;
      if (next == parents.size()) {
        mine = 2;
        order.push_back(at);
        stack.pop_back();
        continue;
      }
      const KeyId parent = parents[next++].tuple.parent;
      if (state[parent] == 0) stack.emplace_back(parent, 0);
    }
  }
  return order;
}

void ExportWalk::Finish() {
  ExportGraph graph;
  std::map<KeyId, size_t> at;
  for (const KeyId& id : InputsFirst()) {
    const Node& node = nodes_.at(id);
    ExportNode out;
    out.id = id;
    out.root = node.parents.empty();
    if (out.root && !id.starts_with("sha256:")) continue;  // its links are gone
    bool usable = true;
    for (const ParentLink& link : node.parents) {
      const auto index = static_cast<size_t>(link.tuple.input);
      if (out.inputs.size() <= index) out.inputs.resize(index + 1);
      out.digest = link.tuple.digest;
      out.output = link.tuple.output;
      const auto parent = at.find(link.tuple.parent);
      if (parent != at.end()) out.inputs[index].push_back({parent->second, link.tuple.selector});
    }
    for (auto& alternatives : out.inputs) {
      usable = usable && !alternatives.empty();
      std::sort(alternatives.begin(), alternatives.end(), [](const auto& a, const auto& b) {
        return std::tie(a.node, a.selector) < std::tie(b.node, b.selector);
      });
    }
    if (!usable) continue;
    out.exported_id = out.root ? id : ExportedKeyId(out.digest, out.output);
    out.records = node.info.records;
    std::sort(out.records.begin(), out.records.end(), [](const auto& a, const auto& b) {
      return std::tie(b.created, b.id) < std::tie(a.created, a.id);
    });
    if (const auto live = live_.find(id); live != live_.end()) {
      out.live = live->second.handle;
      out.export_cache = live->second.export_cache;
    }
    at[id] = graph.nodes.size();
    graph.nodes.push_back(std::move(out));
  }
  for (const auto& ids : roots_) {
    auto& of_edge = graph.roots.emplace_back();
    for (const KeyId& id : ids) {
      if (const auto found = at.find(id); found != at.end()) of_edge.push_back(found->second);
    }
  }
  done_(std::move(graph));
}

void Engine::Export(uint64_t serial, const std::vector<EdgeId>& edges, Callback<ExportGraph> done) {
  const ScopeState* scope = FindScope(serial);
  auto refuse = [&](Error error) {
    answers_.push_back([done, error = std::move(error)] { done(error); });
  };
  if (scope == nullptr) return refuse(FailedPrecondition("the build has been discarded"));
  std::vector<std::vector<KeyId>> roots;
  for (const EdgeId& id : edges) {
    auto edge = OwnEdge(*scope, id);
    if (!edge.ok()) return refuse(edge.error());
    if ((*edge)->phase != Phase::kDone) {
      return refuse(FailedPrecondition("{} has no result to export", (*edge)->vertex->name));
    }
    auto& ids = roots.emplace_back();
    for (const KeyNodePtr& key : (*edge)->keys) {
      const KeyId* local = key->IdIn(kLocalSource);
      if (local != nullptr && !IsMemoryId(*local)) ids.push_back(*local);
    }
  }
  std::map<KeyId, ExportWalk::Live> live;
  for (const VertexId& id : scope->vertices) {
    const Vertex& vertex = *vertices_.at(id);
    for (const auto& [output, edge] : vertex.edges) {
      if (edge->phase != Phase::kDone) continue;
      for (const KeyNodePtr& key : edge->keys) {
        const KeyId* local = key->IdIn(kLocalSource);
        if (local == nullptr) continue;
        live[*local] = {ResultHandle(edge->id(), edge->generation, edge->result),
                        vertex.owners.at(serial).export_cache};
      }
    }
  }
  std::make_shared<ExportWalk>(loop_, local_.disk_ptr(), std::move(live), std::move(roots),
                               std::move(done))
      ->Start();
}

}  // namespace kiln::solver
