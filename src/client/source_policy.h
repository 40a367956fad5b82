#pragma once

#include <string>

#include "base/result.h"

namespace kiln::client {

// A file with a source policy (moby.buildkit.v1.sourcepolicy.Policy), in JSON or serialized: as
// serialized. A key that policies do not have is an error, lest a rule do less than it says.
Result<std::string> ReadSourcePolicy(const std::string& path);

}  // namespace kiln::client
