#pragma once

#include "base/result.h"
#include "store/root.h"

namespace kiln::store {

// At start: drops the rows whose data may not have reached the disk and the files that no row
// knows, and gives the root its numbers. True if whoever had the store open before ended without
// closing it.
Result<bool> Recover(Root& root);

// Removes directories and blobs that no row knows. Only while nobody adds any.
Status SweepOrphans(Root& root);

}  // namespace kiln::store
