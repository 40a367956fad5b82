#pragma once

#include <string>

namespace kiln::cmd {

// `kiln fsck`: prints what is wrong with the store at `root`, one line each. The exit status: 0 if
// nothing is, or all of it was mended; 1 if something is; 2 if it could not be looked at.
int RunFsck(const std::string& root, bool repair);

}  // namespace kiln::cmd
