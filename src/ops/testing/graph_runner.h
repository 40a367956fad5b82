#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/pool.h"
#include "llb/build.h"
#include "ops/factory.h"
#include "solver/op.h"
#include "store/store.h"

namespace kiln::ops {

// Runs LLB graphs op by op in a store of its own, without a solver: every vertex once, inputs
// first. For tests.
class GraphRunner {
 public:
  GraphRunner();
  ~GraphRunner();
  GraphRunner(const GraphRunner&) = delete;
  GraphRunner& operator=(const GraphRunner&) = delete;

  store::Store& store() { return *store_; }
  // For further makers.
  Factory& factory() { return *factory_; }
  Services services() { return {*store_, *pool_, clock_}; }
  // The activity of every call; sessions and sink may be set before.
  progress::Activity& activity() { return activity_; }

  Result<store::SnapshotRef> Run(const llb::Output& output);
  // Runs one op on given results; blocks.
  Result<solver::RunOutput> RunOp(solver::Op& op, std::vector<solver::StoredResultPtr> inputs);
  // What the op of `output` hashes of its input number `input`.
  Result<std::string> ContentDigest(const llb::Output& output, int input);

  // --- Looking into results; a missing path is "<missing>". ---
  std::string Read(const store::SnapshotRef& ref, const std::string& path);
  // "0755 0:0", with the target behind it for symlinks ("0777 0:0 -> /a").
  std::string Describe(const store::SnapshotRef& ref, const std::string& path);
  // All paths below the root, directories with a trailing slash, in order.
  std::vector<std::string> List(const store::SnapshotRef& ref);
  std::optional<int64_t> MtimeNs(const store::SnapshotRef& ref, const std::string& path);

 private:
  struct Step {
    std::shared_ptr<solver::Op> op;
    std::vector<solver::StoredResultPtr> results;
  };
  Result<std::vector<solver::StoredResultPtr>> RunVertices(const llb::Graph& graph, size_t count,
                                                           std::vector<Step>& steps);

  std::string root_;
  SystemClock clock_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<Factory> factory_;
  progress::Activity activity_;
};

}  // namespace kiln::ops
