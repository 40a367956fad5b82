#pragma once

#include <string_view>
#include <vector>

#include "sys/mounts.h"

namespace kiln::sys {

// The text of /proc/<pid>/mountinfo; lines that are none are left out.
std::vector<MountInfo> ParseMountInfo(std::string_view text);

}  // namespace kiln::sys
