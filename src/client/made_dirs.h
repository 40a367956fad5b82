#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"

namespace kiln::client {

// mkdir -p for what a user names; those that are made have this mode.
Status MakeDirs(const std::string& path, mode_t mode);

}  // namespace kiln::client
