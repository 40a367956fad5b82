#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "solver/probe.h"
#include "solver/solver.h"
#include "solver/stress/book.h"
#include "solver/stress/stress_op.h"
#include "solver/stress/stress_store.h"

namespace kiln::solver::stress {

// Row "events": checks a build's progress as it comes.
class CheckedSink final : public progress::Sink {
 public:
  CheckedSink(Book& book, int job) : book_(book), job_(job) {}
  void OnVertex(const progress::Vertex& vertex) override;
  void OnStatus(const progress::VertexStatus&) override {}
  void OnLog(const progress::VertexLog& log) override;
  void OnWarning(const progress::VertexWarning&) override {}
  // After the build's end no start may be left open.
  void End();
  // A root was delivered: it must have been shown as completed.
  void Delivered(const Digest& vertex);

 private:
  struct State {
    std::multiset<int64_t> open;
    int completed = 0;
    std::map<int, int> lines;  // run → lines seen
  };
  void Fail(const std::string& what) {
    book_.Fail("events", fmt::format("job {}: {}", job_, what));
  }

  Book& book_;
  const int job_;
  std::map<Digest, State> vertices_;
};

// Rows "no miss", "no waste" and "pairing": told of run starts and hits.
class Oracle final : public Probe {
 public:
  Oracle(Field& field, StressStore& store, std::shared_ptr<MemoryCache> imported)
      : field_(field), store_(store), imported_(std::move(imported)) {}

  void OnRunStart(const RunStart& start) override;
  void OnRunWithdrawn(uint64_t flight) override;
  void OnHit(const Hit& hit) override;
  void OnLost(uint64_t edge, const std::vector<std::pair<uint64_t, RecordId>>& records) override {
    for (const auto& [source, record] : records) lost_.insert({edge, source, record});
  }

  // Row "no waste", at the end.
  void CheckWaste();
  // A run of one of these ids may be repeated: it failed or was cancelled.
  void Excuse(uint64_t flight);
  void NoteVertex(VertexId id, const Node& node, int job) { vertices_[id] = {&node, job}; }
  const std::map<uint64_t, RunStart>& starts() const { return starts_; }
  int hits = 0;

 private:
  // Of the output that the run is begun for.
  static const KeyId* IdOf(const RunStart& start);
  std::set<KeyId> LoadableChildren(const RunStart& start) const;

  Field& field_;
  StressStore& store_;
  std::shared_ptr<MemoryCache> imported_;
  std::map<uint64_t, RunStart> starts_;
  std::set<std::tuple<uint64_t, uint64_t, RecordId>> lost_;
  std::map<VertexId, std::pair<const Node*, int>> vertices_;
};

// Row "value": is the payload what direct evaluation gives or, where steps are not deterministic, a
// result that a chain of recorded runs with matching keys leads to?
class Justifier {
 public:
  Justifier(Universe& universe, const Book& book) : universe_(universe), book_(book) {}
  bool Holds(const JobPlan& job, int node, int output, const PayloadPtr& payload);

 private:
  bool Chain(const JobPlan& job, const Node& node, int output, const PayloadPtr& payload);
  bool InputMatches(const JobPlan& job, const Node::In& in, const RunRecord& run, size_t index);

  Universe& universe_;
  const Book& book_;
  std::map<std::tuple<int, int, int, const Payload*>, bool> known_;
};

}  // namespace kiln::solver::stress
