#pragma once

#include <string>
#include <vector>

#include "oci/platform.h"

namespace kiln::sys {
class Spawner;
}

namespace kiln::control {

// What programs this machine runs, the best first: its own platform, the variants of it that its
// processor has ("linux/amd64/v2"), and the 32-bit one if the kernel starts its programs
// ("linux/386"), which is tried with one in the empty folder `scratch`.
std::vector<oci::Platform> MachinePlatforms(sys::Spawner& spawner, const std::string& scratch);

}  // namespace kiln::control
