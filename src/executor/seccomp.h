#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace kiln::executor {

// The `linux.seccomp` object of runtime-spec 1.0 for a process whose bounding set holds these
// capabilities: what Docker's default profile allows on this architecture, everything else fails
// with EPERM.
nlohmann::json DefaultSeccomp(const std::vector<std::string>& capabilities);

}  // namespace kiln::executor
