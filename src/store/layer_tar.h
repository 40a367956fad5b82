#pragma once

#include "archive/tar.h"
#include "progress/activity.h"
#include "store/tree.h"

namespace kiln::store {

// Writes one layer as an OCI layer tar (image-spec v1.1, layer.md), as BuildKit's overlay differ
// would: entries in walk order, each after its parent directories; what equals the layers below
// left out; whiteouts only for what they hide, or always with `standalone`; opaque directories as a
// whiteout for each thing hidden; hard links within the layer; of the xattrs security.capability
// alone.
Status WriteLayerTar(const progress::Activity& activity, const TreeView& layer,
                     const TreeView& below, bool standalone, archive::TarWriter& out);

// Whether two existing paths count as unchanged: mode, owner, device, capability, and for
// non-directories size and time (content where both times are whole seconds).
Result<bool> SameEntry(const TreeView& a, const TreeEntry& x, const TreeView& b,
                       const TreeEntry& y);

}  // namespace kiln::store
