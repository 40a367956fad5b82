#include "ops/passthrough_op.h"

#include <utility>

namespace kiln::ops {
namespace {

class PassthroughOp final : public SnapshotOp {
 public:
  using SnapshotOp::SnapshotOp;
  solver::RunNeeds needs() const override { return {}; }

 protected:
  bool ReadsInput(int /*input*/) const override { return false; }

  Result<StepOutput> RunStep(solver::RunContext& /*context*/,
                             const std::vector<store::SnapshotRef>& inputs) override {
    StepOutput output;
    for (int64_t input : vertex().op.passthrough().outputs())
      output.results.push_back(inputs[input]);
    return output;
  }
};

}  // namespace

Result<solver::OpPtr> MakePassthroughOp(const Services& services, const llb::Vertex& vertex,
                                        const OpOptions& options) {
  TRY_ASSIGN(llb::KeyMap key, llb::KeyMapOf(vertex));
  return solver::OpPtr(std::make_shared<PassthroughOp>(services, vertex, options, std::move(key)));
}

}  // namespace kiln::ops
