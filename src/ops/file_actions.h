#pragma once

#include <functional>
#include <optional>

#include "base/result.h"
#include "base/time.h"
#include "ops/owner.h"
#include "pb/ops.pb.h"
#include "store/layer_writer.h"

namespace kiln::ops {

// -1 says "leave it".
std::optional<WallTime> TimestampOf(int64_t timestamp_ns);

Status MakeDirectory(const pb::FileActionMkDir& action, const std::optional<FileOwner>& owner,
                     store::LayerWriter& writer);
Status MakeFile(const pb::FileActionMkFile& action, const std::optional<FileOwner>& owner,
                store::LayerWriter& writer);
Status MakeSymlink(const pb::FileActionSymlink& action, const std::optional<FileOwner>& owner,
                   store::LayerWriter& writer);
// `tree` gives what the writer's union shows now; asked only for wildcards.
Status RemovePath(const pb::FileActionRm& action,
                  const std::function<Result<store::TreeView>()>& tree, store::LayerWriter& writer);

}  // namespace kiln::ops
