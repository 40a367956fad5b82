#pragma once

#include <string>
#include <vector>

#include "build/result.h"

namespace kiln::exporter {

// What clients are warned of where a result has other platforms than were asked for: `asked` is the
// frontend option "platform", a comma-separated list; empty: this machine's. Errors are those of
// build::PlatformsOf; a result without references and platforms is not looked at.
Result<std::vector<std::string>> PlatformWarnings(const std::string& asked,
                                                  const build::BuildResult& result);

}  // namespace kiln::exporter
