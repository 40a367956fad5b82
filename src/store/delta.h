#pragma once

#include <memory>
#include <set>
#include <string>

#include "store/tree.h"

namespace kiln::store {

// Prepares a delta for being committed: opaque directories over directories of `lower` are replaced
// by explicit whiteouts, so that the layer means the same on top of something else (merges,
// exported tars). `userxattr` as for the mount. Reads directories only, unless there is an opaque
// one.
Status NormalizeDelta(const std::string& directory, const TreeView& lower, bool userxattr);

// Bytes on disk of a tree of ours, each inode once.
Result<uint64_t> DiskBytes(const std::string& directory, const std::set<uint64_t>& not_counted);

// Whether a whiteout lies in a directory that no other layer of the chain has: the kernel would
// list its name. Possible only where layers were put on other layers than they were made on.
Result<bool> HasDanglingWhiteout(const TreeView& chain);

}  // namespace kiln::store
