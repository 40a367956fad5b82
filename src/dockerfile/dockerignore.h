#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kiln::dockerfile {

// The patterns of a .dockerignore file, cleaned, in order, "!" kept.
Result<std::vector<std::string>> ParseDockerignore(std::string_view data);

}  // namespace kiln::dockerfile
