#pragma once

#include "cmd/build_flags.h"

namespace CLI {
class App;
}

namespace kiln::cmd {

// Declares the flags of `kiln build` on `app`; they are stored into `flags`, which must outlive the
// parse. Flags of `docker buildx build` that are not served are declared too, so that using them is
// refused by name.
void AddBuildOptions(CLI::App& app, BuildFlags& flags);

}  // namespace kiln::cmd
