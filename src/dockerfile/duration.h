#pragma once

#include <cstdint>
#include <string>

namespace kiln::dockerfile {

// A duration the way Go prints it: 90s is "1m30s", 1500ms is "1.5s".
std::string FormatDuration(std::int64_t ns);

}  // namespace kiln::dockerfile
