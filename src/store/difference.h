#pragma once

#include <functional>

#include "progress/activity.h"
#include "store/layer_writer.h"
#include "store/tree.h"

namespace kiln::store {

// How two trees are compared.
struct DifferenceRules {
  // Every attribute counts, as when the kernel copies up what is touched; false: what a layer's tar
  // can say (layer_tar.h).
  bool exact = false;
  // Says of an entry of the upper tree that it is what the lower one has, without a look at it (of
  // directories: their own attributes). Null: compare.
  std::function<bool(const TreeEntry&)> is_untouched;
};

// Writes what `upper` changes over `lower` as a delta that stands by itself: every deletion is a
// whiteout. The writer has nothing below.
Status WriteDifference(const progress::Activity& activity, const TreeView& lower,
                       const TreeView& upper, LayerWriter& writer, const DifferenceRules& rules);

}  // namespace kiln::store
