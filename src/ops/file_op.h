#pragma once

#include <string_view>

#include "ops/snapshot_op.h"

namespace kiln::ops {

// The detail of an error that a file action failed with; the value is the action's index in
// decimal.
inline constexpr std::string_view kFileActionDetailType = "kiln.ops.FileAction";

// mkdir, mkfile, symlink, rm and copy actions, in user space: nothing is mounted.
Result<solver::OpPtr> MakeFileOp(const Services& services, const llb::Vertex& vertex,
                                 const OpOptions& options);

}  // namespace kiln::ops
