#pragma once

#include <string>

#include "base/error.h"

namespace kiln::cmd {

// An error as people read it at the end of a build: for each source location among its details an
// excerpt with the lines marked, then "ERROR: " and the text.
std::string DescribeError(const Error& error);

}  // namespace kiln::cmd
