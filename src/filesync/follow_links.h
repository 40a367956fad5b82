#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace kiln::filesync {

// Turns paths below `root` into include patterns that cover every symlink on the way and what it
// leads to, without leaving the folder. Components may hold wildcards. Missing paths are kept. An
// empty result means: everything.
Result<std::vector<std::string>> FollowLinks(int root, const std::vector<std::string>& paths);

}  // namespace kiln::filesync
