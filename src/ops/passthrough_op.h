#pragma once

#include "ops/snapshot_op.h"

namespace kiln::ops {

// Output i is input outputs[i], unread.
Result<solver::OpPtr> MakePassthroughOp(const Services& services, const llb::Vertex& vertex,
                                        const OpOptions& options);

}  // namespace kiln::ops
