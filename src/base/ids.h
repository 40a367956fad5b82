#pragma once

#include <string>

namespace kiln {

// A random id of 25 characters [0-9a-z], as BuildKit's clients make for refs and sessions.
std::string NewId();
// `size` random bytes from the kernel.
std::string RandomBytes(size_t size);

}  // namespace kiln
