#pragma once

#include "cmd/build_flags.h"
#include "cmd/engine.h"

namespace kiln::cmd {

// `kiln build`: runs the build on the engine chosen, with progress on standard error. The exit
// status.
int RunBuild(const BuildFlags& flags, const EngineChoice& choice, sys::Spawner* spawner);

}  // namespace kiln::cmd
