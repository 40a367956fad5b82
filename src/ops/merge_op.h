#pragma once

#include "ops/snapshot_op.h"

namespace kiln::ops {

// Stacks its inputs; lazy: nothing is pulled.
Result<solver::OpPtr> MakeMergeOp(const Services& services, const llb::Vertex& vertex,
                                  const OpOptions& options);

// What the upper input changes over the lower one, as a layer of its own.
Result<solver::OpPtr> MakeDiffOp(const Services& services, const llb::Vertex& vertex,
                                 const OpOptions& options);

}  // namespace kiln::ops
