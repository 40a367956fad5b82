#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "dockerfile/lint.h"
#include "dockerfile/options.h"
#include "dockerfile/plan.h"

namespace kiln::dockerfile {

struct OfflineCheck {
  std::vector<Finding> findings;
  Status status;  // what fails the conversion
};

// The build checks of a file of which nothing but its text (and .dockerignore) is known: base
// images are taken to exist, and to have any variable. Without `options.target` all stages are
// looked at.
OfflineCheck CheckOffline(const Options& options, const LoadedDockerfile& loaded);

}  // namespace kiln::dockerfile
