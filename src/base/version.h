#pragma once

#include <string>

namespace kiln {

// Of kiln itself, "0.1.0": what CMakeLists.txt says.
std::string Version();

// "v0.34.2+kiln.0.1.0": the BuildKit version whose protocol is served, ours as build metadata.
// Clients compare it.
std::string ProtocolVersion();

}  // namespace kiln
