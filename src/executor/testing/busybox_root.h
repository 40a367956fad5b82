#pragma once

#include <string>
#include <vector>

namespace kiln::executor {

// Fills a directory with a small root file system: the machine's static busybox with its usual
// applets, /etc/passwd (root, bob 1000, daemon 1), /etc/group (root, wheel with root, bob 1000,
// staff 50 with bob), /tmp. CHECKs that busybox is installed.
void FillBusyboxRoot(const std::string& directory);

}  // namespace kiln::executor
