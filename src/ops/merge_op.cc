#include "ops/merge_op.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace kiln::ops {
namespace {

class MergeOp final : public SnapshotOp {
 public:
  using SnapshotOp::SnapshotOp;
  solver::RunNeeds needs() const override { return {.slot = solver::SlotKind::kFile}; }

 protected:
  bool ReadsInput(int /*input*/) const override { return false; }

  Result<StepOutput> RunStep(solver::RunContext& /*context*/,
                             const std::vector<store::SnapshotRef>& inputs) override {
    // Upstream's op has no result then, not an empty one.
    const bool nothing = std::all_of(inputs.begin(), inputs.end(),
                                     [](const auto& input) { return input.is_scratch(); });
    if (nothing) return Unknown("invalid response from exec need 0 index but 0 results received");
    TRY_ASSIGN(store::SnapshotRef ref,
               services().store.Merge(inputs, {.description = vertex().name}));
    return StepOutput{.results = {std::move(ref)}};
  }
};

class DiffOp final : public SnapshotOp {
 public:
  using SnapshotOp::SnapshotOp;
  solver::RunNeeds needs() const override { return {.slot = solver::SlotKind::kFile}; }

 protected:
  // Where layers can be reused nothing is read; where not, RunStep pulls.
  bool ReadsInput(int /*input*/) const override { return false; }

  // Inputs are consumed by position: lower first, unless it is scratch.
  Result<StepOutput> RunStep(solver::RunContext& context,
                             const std::vector<store::SnapshotRef>& inputs) override {
    size_t next = 0;
    store::SnapshotRef lower;
    store::SnapshotRef upper;
    if (vertex().op.diff().lower().input() >= 0 && next < inputs.size()) lower = inputs[next++];
    if (vertex().op.diff().upper().input() >= 0 && next < inputs.size()) upper = inputs[next++];
    if (lower.is_scratch()) return StepOutput{.results = {std::move(upper)}};
    if (lower == upper) return StepOutput{.results = {store::SnapshotRef()}};
    store::CommitOptions options{.description = vertex().name};
    auto diff = services().store.Diff(context.activity(), lower, upper, options);
    if (!diff.ok() && diff.error().code() == Code::kFailedPrecondition) {
      for (const solver::ResultHandle& input : context.inputs())
        TRY(EnsureLocal(services().store, context.activity(), input.result()));
      diff = services().store.Diff(context.activity(), lower, upper, options);
    }
    if (!diff.ok()) return std::move(diff).error();
    return StepOutput{.results = {std::move(*diff)}};
  }
};

template <typename Op>
Result<solver::OpPtr> MakeSnapshotOp(const Services& services, const llb::Vertex& vertex,
                                     const OpOptions& options) {
  TRY_ASSIGN(llb::KeyMap key, llb::KeyMapOf(vertex));
  return solver::OpPtr(std::make_shared<Op>(services, vertex, options, std::move(key)));
}

}  // namespace

Result<solver::OpPtr> MakeMergeOp(const Services& services, const llb::Vertex& vertex,
                                  const OpOptions& options) {
  return MakeSnapshotOp<MergeOp>(services, vertex, options);
}

Result<solver::OpPtr> MakeDiffOp(const Services& services, const llb::Vertex& vertex,
                                 const OpOptions& options) {
  return MakeSnapshotOp<DiffOp>(services, vertex, options);
}

}  // namespace kiln::ops
