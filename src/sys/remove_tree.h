#pragma once

#include <atomic>
#include <string>

#include "base/result.h"

namespace kiln::sys {

// RemoveTree of file_info.h that can be broken off: once `stop` is set the rest stays, Cancelled.
Status RemoveTree(const std::string& path, const std::atomic<bool>& stop);

}  // namespace kiln::sys
