#pragma once

#include <optional>

#include "base/result.h"
#include "ops/owner.h"
#include "pb/ops.pb.h"
#include "progress/activity.h"
#include "store/layer_writer.h"
#include "store/tree.h"

namespace kiln::ops {

struct CopyContext {
  const progress::Activity& activity;
  const store::TreeView& source;
  bool source_is_never_written = false;  // its files may be linked
  const std::optional<FileOwner>& owner;
  store::LayerWriter& writer;
};

// The copy action: wildcards, targets, parents, archives; llb-ops-cache §6.
Status CopyPath(const CopyContext& context, const pb::FileActionCopy& action);

}  // namespace kiln::ops
