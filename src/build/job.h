#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/mutex.h"
#include "build/entitlements.h"
#include "build/environment.h"
#include "build/load_graph.h"
#include "build/reference.h"
#include "build/result.h"
#include "pb/ops.pb.h"
#include "progress/activity.h"
#include "solver/solver.h"

namespace kiln::build {

struct JobOptions {
  std::string ref;  // the client's, unique among live jobs
  std::vector<std::string> session_ids;
  std::shared_ptr<progress::Sink> sink;
  std::set<std::string> entitlements;  // granted by the request
  SourceRewriter
      rewrite_source;  // the build's source policy; null: none. Called from several threads
  int compatibility_version = 30;
  int max_frontend_depth = 8;
  size_t max_definition_bytes = size_t{256} << 20;  // of all definitions loaded
};

// One client build, from the request to its end: loads definitions into the solver, resolves
// metadata of sources, holds the job's cancellation. Shared by pointer: references, frontends and
// the bridge hold it. Safe from any thread.
class Job : public std::enable_shared_from_this<Job> {
 public:
  // `job ID X exists` (AlreadyExists); `unknown entitlement x`; `granting entitlement x is not
  // allowed by build daemon configuration`.
  static Result<std::shared_ptr<Job>> Start(const Environment& environment, JobOptions options);
  // Discards the solver's job.
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  const Environment& environment() const { return environment_; }
  const JobOptions& options() const { return options_; }
  const std::string& ref() const { return options_.ref; }
  // Cancelled when the job is; its sink and sessions are the job's.
  const progress::Activity& activity() const { return activity_; }

  void AddSession(const std::string& id);
  void AddImporter(solver::Importer importer);

  // A definition as a lazy reference; nothing runs. An absent or empty definition is scratch.
  // Errors are prefixed "failed to load LLB: " and carry source lines where they belong to an op.
  // That a device is missing or not allowed is said when the reference is evaluated.
  Result<ReferencePtr> Load(const pb::Definition& definition);

  // Counts nested frontend requests: InvalidArgument beyond the limit. Pair each success with
  // LeaveFrontend.
  Status EnterFrontend();
  void LeaveFrontend();

  // Ends all that the job waits for; later work fails with the reason.
  void Cancel(Error reason);

 private:
  Job(const Environment& environment, JobOptions options, Entitlements entitlements);
  Status CheckEntitlements(const llb::Graph& graph) const;
  Status ResolveDevices(llb::Graph& graph) const;

  class Sessions;

  const Environment& environment_;
  const JobOptions options_;
  const Entitlements entitlements_;
  CancelSource cancel_;
  std::shared_ptr<Sessions> sessions_;
  progress::Activity activity_;
  solver::JobPtr solver_job_;
  Mutex mutex_;
  size_t definition_bytes_ GUARDED_BY(mutex_) = 0;
  int frontend_depth_ GUARDED_BY(mutex_) = 0;
};
using JobPtr = std::shared_ptr<Job>;

}  // namespace kiln::build
