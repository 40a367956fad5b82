#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "solver/memory_cache.h"
#include "solver/solver.h"
#include "solver/testing/fake_op.h"

namespace kiln::solver {

// Records a build's events.
class RecordingSink final : public progress::Sink {
 public:
  void OnVertex(const progress::Vertex& vertex) override { vertices.push_back(vertex); }
  void OnStatus(const progress::VertexStatus& status) override { statuses.push_back(status); }
  void OnLog(const progress::VertexLog& log) override { logs.push_back(log); }
  void OnWarning(const progress::VertexWarning& warning) override { warnings.push_back(warning); }

  // "announce", "start", "done", "cached" or "error: …" per event of that vertex.
  std::vector<std::string> Story(const std::string& name) const;

  std::vector<progress::Vertex> vertices;
  std::vector<progress::VertexStatus> statuses;
  std::vector<progress::VertexLog> logs;
  std::vector<progress::VertexWarning> warnings;
};

// A graph under construction; steps are named.
class GraphBuilder {
 public:
  struct In {
    std::string step;
    int output = 0;
  };
  GraphBuilder& Add(const std::string& name, std::shared_ptr<FakeOp> op,
                    std::vector<In> inputs = {}, bool ignore_cache = false);
  const std::vector<VertexSpec>& specs() const { return specs_; }
  size_t at(const std::string& name) const { return at_.at(name); }

 private:
  std::vector<VertexSpec> specs_;
  std::map<std::string, size_t> at_;
};

struct Answer {
  std::optional<Result<ResultHandle>> result;
  bool ok() const { return result && result->ok(); }
  std::string value() const { return ok() ? ValueOf(**result) : "<none>"; }
  std::string error() const {
    return result && !result->ok() ? result->error().ToString() : "<none>";
  }
};

// A solver with everything around it under a test's hand.
class TestWorld {
 public:
  explicit TestWorld(SolverOptions options = {});
  ~TestWorld();

  struct Build {
    JobPtr job;
    std::shared_ptr<RecordingSink> sink;
    std::map<std::string, EdgeId> steps;
  };
  Build NewBuild(const std::string& ref, std::vector<Importer> importers = {});
  void Load(Build& build, const GraphBuilder& graph);
  // Asks, and runs the loop until nothing moves.
  std::shared_ptr<Answer> Ask(Build& build, const std::string& step, int output = 0);
  void Settle() { loop.RunAll(); }
  SolverStats Stats();
  std::shared_ptr<FakeOp> NewOp(FakeOpSpec spec) {
    return std::make_shared<FakeOp>(outside, std::move(spec));
  }
  std::shared_ptr<FakeOp> NewOp(const std::string& name, std::vector<InputKey> inputs = {});

  FakeClock clock;
  ManualQueue loop;
  Held outside;
  std::shared_ptr<MemoryCache> cache;
  std::unique_ptr<Solver> solver;
};

}  // namespace kiln::solver
