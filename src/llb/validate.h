#pragma once

#include "base/result.h"
#include "pb/ops.pb.h"

namespace kiln::llb {

// Indices, outputs and reachability of a file op's actions (`duplicate output N`, `missing output
// index N`, …).
Status ValidateFileIndices(const pb::FileOp& op, int64_t input_count);

// Whether the exec mount yields a result. Its `output` counts only as "-1 or not": results stand in
// mount order.
bool MountHasOutput(const pb::Mount& mount);

}  // namespace kiln::llb
