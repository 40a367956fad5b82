#pragma once

#include "progress/activity.h"
#include "store/ref.h"
#include "sys/mounts.h"

namespace kiln::store {

// ActiveSnapshot::Mount for those who can wait and fail: a snapshotter that stacks nothing copies
// the whole tree now.
Result<sys::MountDescription> MountActive(const progress::Activity& activity,
                                          const ActiveSnapshot& active, bool is_volatile = true);

}  // namespace kiln::store
