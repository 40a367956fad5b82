#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/result.h"
#include "progress/progress.h"
#include "solver/cache_source.h"
#include "solver/export.h"
#include "solver/ids.h"
#include "solver/stored_result.h"

namespace kiln::solver {

class Op;

// A step to load. `inputs` point at steps that stand before it in the same list.
struct VertexSpec {
  struct Input {
    size_t vertex = 0;
    int output = 0;
  };
  Digest digest;          // as clients know it (LLB digest)
  std::string op_digest;  // of what will be done; part of the identity
  std::string name;
  std::optional<progress::Group> group;
  bool ignore_cache = false;
  int compatibility_version = 0;
  // The LLB metadata `export_cache`: overrides whether an export attaches this step's result.
  std::optional<bool> export_cache;
  std::vector<Input> inputs;
  std::shared_ptr<Op> op;
};

enum class Level { kNone, kFast, kSlow, kDone };

// Identifies one Get; 0 is none.
using AskId = uint64_t;

// Owns vertices and asks for results: a build (Job), or a run that solves a nested graph. Safe from
// any thread; callbacks run on the solver's loop and must not block. Dropping the last pointer
// discards.
class Scope {
 public:
  virtual ~Scope() = default;

  // Adds a graph, announcing its steps on the owning builds' sinks. Returns the identity of each
  // step, in order. Steps that another owner loaded already are shared. May be called repeatedly.
  // Errors: InvalidArgument for an input that does not stand before its user, or an output that the
  // input's op does not declare; FailedPrecondition after Discard.
  virtual Result<std::vector<VertexId>> Load(std::vector<VertexSpec> graph) = 0;
  // Also consulted by what is loaded afterwards and by what has not begun to run.
  virtual void AddImporter(Importer importer) = 0;

  // Asks for the result of an edge of this scope. `done` is called once: with the result; with the
  // step's error (a step that failed for this build fails at once when asked for again); with the
  // reason of Cancel or Discard.
  virtual AskId Get(EdgeId edge, Callback<ResultHandle> done) = 0;
  // Withdraws one ask; its callback gets `reason`. No effect once it was answered.
  virtual void Withdraw(AskId ask, Error reason) = 0;
  // The holder found the result lost (`error` is a LostError, or any error about that result):
  // drops what was lost everywhere and works it out again. `done` gets the new result.
  virtual AskId Repair(const ResultHandle& lost, Error error, Callback<ResultHandle> done) = 0;

  // Keys, links and records that lead to the given edges, for a cache export. The edges must be
  // Done.
  virtual void Export(std::vector<EdgeId> edges, Callback<ExportGraph> done) = 0;

  // Ends all asks of this scope with `reason`; later ones get it too. Vertices stay until Discard.
  virtual void Cancel(Error reason) = 0;
  // Cancels, and gives up the vertices. Handles already delivered stay valid. `done` (may be null)
  // runs when this scope's open work has been told; flights it alone wanted may still be stopping.
  virtual void Discard(std::function<void()> done = nullptr) = 0;
};
using ScopePtr = std::shared_ptr<Scope>;

}  // namespace kiln::solver
