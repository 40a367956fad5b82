#include <algorithm>

#include "solver/engine.h"
#include "solver/failure.h"
#include "solver/lost.h"

namespace kiln::solver {

// The result is lost: its records are barred for good, and whoever asks has it worked out again.
void Engine::Invalidate(Edge& edge, const std::string& why) {
  if (edge.phase != Phase::kDone) return;
  if (probe_ != nullptr) probe_->OnLost(edge.serial, edge.result_records);
  for (const auto& [source, record] : std::exchange(edge.result_records, {})) {
    if (faults_.lost_not_barred) continue;
    edge.barred.insert({source, record});
    if (source == kLocalSource) local_.Drop(record);
  }
  edge.result = nullptr;
  edge.phase = Phase::kIdle;
  edge.lost = true;
  ++edge.repairs;
  ResetMatch(edge);
  MarkDirty(edge);
  if (edge.repairs > options_.max_repairs) {
    Fail(edge,
         WithFailedVertex(
             DataLoss("{}: its result was lost {} times: {}", edge.vertex->name, edge.repairs, why),
             edge.vertex->digest),
         true);
  }
}

void Engine::MarkLost(const std::vector<std::string>& blobs) {
  if (blobs.empty()) return;
  for (auto& [id, vertex] : vertices_) {
    for (auto& [output, edge] : vertex->edges) {
      if (edge->phase != Phase::kDone || edge->result == nullptr) continue;
      const StoredResult& result = *edge->result;
      const auto lost = std::find_if(blobs.begin(), blobs.end(),
                                     [&](const std::string& blob) { return result.Holds(blob); });
      if (lost != blobs.end()) Invalidate(*edge, *lost);
    }
  }
}

void Engine::InputLost(Vertex& consumer, size_t index, const ResultHandle& handle,
                       const Error& error) {
  MarkLost(LostBlobs(error));
  const Vertex::Input& input = consumer.inputs[index];
  Edge& from = *input.vertex->edges.at(input.output);
  if (from.generation == handle.generation()) Invalidate(from, error.ToString());
  for (auto& [output, edge] : consumer.edges) MarkDirty(*edge);
}

void Engine::Repair(uint64_t scope, AskId ask, const ResultHandle& lost, const Error& error,
                    Callback<ResultHandle> done) {
  ScopeState* state = FindScope(scope);
  if (state != nullptr && !state->cancelled) {
    auto edge = OwnEdge(*state, lost.edge());
    if (edge.ok()) {
      MarkLost(LostBlobs(error));
      if ((*edge)->generation == lost.generation()) Invalidate(**edge, error.ToString());
    }
  }
  Get(scope, ask, lost.edge(), std::move(done));
}

}  // namespace kiln::solver
