#pragma once

#include <memory>
#include <vector>

#include "filesync/tree.h"

namespace kiln::exporter {

// Several trees as one. Of a directory that several have the first one's entry counts; no other
// path may be in two.
std::unique_ptr<filesync::Tree> MergeTrees(std::vector<std::unique_ptr<filesync::Tree>> trees);

}  // namespace kiln::exporter
