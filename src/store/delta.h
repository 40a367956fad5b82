#pragma once

#include <string>

#include "store/tree.h"
#include "sys/privileges.h"

namespace kiln::store {

// Prepares a delta for being committed: opaque directories over directories of `lower` are replaced
// by explicit whiteouts, so that the layer means the same on top of something else (merges,
// exported tars). `privileges` as for the mount. Reads directories only, unless there is an opaque
// one.
Status NormalizeDelta(const std::string& directory, const TreeView& lower,
                      const sys::Privileges& privileges);

// Whether a whiteout lies in a directory that no other layer of the chain has: the kernel would
// list its name. Possible only where layers were put on other layers than they were made on.
Result<bool> HasDanglingWhiteout(const TreeView& chain);

}  // namespace kiln::store
