#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "build/environment.h"
#include "llb/definition.h"
#include "progress/activity.h"
#include "solver/scope.h"
#include "store/ref.h"

namespace kiln::build {

// A result that a build asked for, known by the definition that makes it and worked out when first
// needed. Shared by pointer between frontends, the build result and exporters; holds its graph in
// the solver and, once worked out, the snapshot. Safe from any thread; methods with an Activity
// block: never on an event loop.
class Reference : public std::enable_shared_from_this<Reference> {
 public:
  Reference(const Environment& environment, solver::ScopePtr scope,
            std::optional<solver::EdgeId> edge, std::shared_ptr<const pb::Definition> definition,
            std::optional<oci::Platform> platform);
  // What will not be worked out, for the reason given.
  Reference(const Environment& environment, solver::ScopePtr scope,
            std::shared_ptr<const pb::Definition> definition, Error refusal);

  // What the client sent; empty for scratch.
  const pb::Definition& definition() const { return *definition_; }
  bool is_scratch() const { return !edge_ && !refusal_; }
  const std::optional<solver::EdgeId>& edge() const { return edge_; }
  // Of the vertex that makes it; unset for scratch.
  const std::optional<oci::Platform>& platform() const { return platform_; }

  // Runs what is needed. The snapshot may be lazy. Errors carry the failed vertex and its source
  // lines as details. Several references: EvaluateAll.
  Result<store::SnapshotRef> Evaluate(const progress::Activity& activity);
  // Asks without waiting; `done` is called once, here or on the solver's loop, and must not block.
  // The reference lives until then. What is returned can be withdrawn; 0: it was answered here.
  solver::AskId EvaluateAsync(std::function<void(Result<store::SnapshotRef>)> done);
  // `done` gets `reason`. No effect once it was answered.
  void Withdraw(solver::AskId ask, Error reason);
  // The last result, if there is one.
  std::optional<store::SnapshotRef> Evaluated() const;

  // Evaluates, makes the snapshot local if `local`, and calls `use`; when the store reports data
  // lost on the way, has the result worked out again and starts over, a few times.
  Status Use(const progress::Activity& activity, bool local,
             const std::function<Status(const store::SnapshotRef&)>& use);

  store::Store& store() const { return *environment_.store; }

  // Adds what clients show for a failed step: its vertex and source lines.
  Error Explain(Error error) const;

 private:
  Result<solver::ResultHandle> Get(const progress::Activity& activity);
  Status Repair(const progress::Activity& activity, const solver::ResultHandle& lost,
                const Error& error);
  Result<solver::ResultHandle> Wait(
      const progress::Activity& activity,
      const std::function<solver::AskId(solver::Callback<solver::ResultHandle>)>& ask);

  const Environment& environment_;
  const solver::ScopePtr scope_;
  const std::optional<solver::EdgeId> edge_;
  const std::shared_ptr<const pb::Definition> definition_;
  const std::optional<oci::Platform> platform_;
  const std::optional<Error> refusal_;
  mutable Mutex mutex_;
  std::optional<solver::ResultHandle> handle_ GUARDED_BY(mutex_);
};
// Null where a frontend gave no reference at all.
using ReferencePtr = std::shared_ptr<Reference>;

// Works out all of them at the same time, on the calling thread alone: other threads are left to
// what the results need. The first that fails ends the wait for the others.
Status EvaluateAll(const progress::Activity& activity, const std::vector<ReferencePtr>& references);

}  // namespace kiln::build
