#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace kiln::executor {

// What a step in the sandbox holds: enough for package managers, nothing that reaches the host.
const std::vector<std::string>& SandboxCapabilities();
// Those that this process has in effect, by name ("CAP_CHOWN"); ones newer than our table are left
// out.
Result<std::vector<std::string>> OwnCapabilities();

}  // namespace kiln::executor
