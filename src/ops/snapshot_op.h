#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "llb/cache_key.h"
#include "llb/definition.h"
#include "ops/services.h"
#include "solver/op.h"
#include "store/ref.h"

namespace kiln::ops {

// What a step yields.
struct StepOutput {
  std::vector<store::SnapshotRef> results;  // one per declared output; scratch allowed
  std::string capture;                      // see solver::RunOutput
};

// Kept beside a vertex for messages.
struct OpOptions {
  std::string location;  // "Dockerfile:12" or ""
};

// The common half of ops whose results are snapshots and whose keys follow from the vertex: exec,
// file, merge, diff. Keys are computed once, when made; hashing, pulling and running happen on the
// services' pool, where RunStep may block. Always held by shared_ptr.
class SnapshotOp : public solver::Op, public std::enable_shared_from_this<SnapshotOp> {
 public:
  SnapshotOp(const Services& services, llb::Vertex vertex, OpOptions options, llb::KeyMap key);

  int output_count() const override { return output_count_; }
  // What rests on nothing is seen, as sources are, even where its result is known.
  bool ShowsKeyMap() const override { return vertex_.inputs.empty(); }
  solver::OpIdentity identity() const override;
  void KeyMap(int part, progress::Activity activity,
              solver::Callback<solver::KeyMapPart> done) override;
  std::vector<solver::KeyPart> KeyParts() const override;
  void ContentDigest(int input, solver::ResultHandle result, progress::Activity activity,
                     solver::Callback<std::string> done) override;
  // Makes the input local, unless ReadsInput says it is not read.
  void Prepare(int input, solver::ResultHandle result, progress::Activity activity,
               solver::StatusCallback done) override;
  void Run(std::shared_ptr<solver::RunContext> context,
           solver::Callback<solver::RunOutput> done) override;

 protected:
  // Does the work: on a pool thread, may block, honours context.activity(). `inputs` are local if
  // ReadsInput. Errors should say what failed as upstream does; codes other than those clients may
  // see are mapped to Unknown (AsStepError).
  virtual Result<StepOutput> RunStep(solver::RunContext& context,
                                     const std::vector<store::SnapshotRef>& inputs) = 0;
  virtual bool ReadsInput(int /*input*/) const { return true; }

  const Services& services() const { return services_; }
  const llb::Vertex& vertex() const { return vertex_; }

 private:
  Result<std::string> DigestOf(int input, const solver::ResultHandle& result,
                               const progress::Activity& activity) const;
  Result<solver::RunOutput> RunNow(solver::RunContext& context);

  const Services services_;
  const llb::Vertex vertex_;
  const OpOptions options_;
  const llb::KeyMap key_;
  // Of an op that is large: the loop is no place to make them.
  const std::vector<solver::KeyPart> large_parts_;
  const int output_count_;
};

// Store::EnsureLocal, remembered in the result; lost data as the solver's error. Null is local.
// Blocks.
Status EnsureLocal(store::Store& store, const progress::Activity& activity,
                   const solver::StoredResultPtr& result);

// Clients print the code of every error but Unknown before its text, so an ordinary failure of a
// step is Unknown. Kept: cancelled, deadline, exhausted, internal, unavailable, and lost data.
Error AsStepError(Error error);

// What D was made from, in people's words; the digest of what is long.
std::vector<solver::KeyPart> KeyPartsOf(const llb::Vertex& vertex);

}  // namespace kiln::ops
