#pragma once

#include <string>

namespace CLI {
class App;
}

namespace kiln::cmd {

// What to say when the command line has words that `app`, which has parsed it, does not know: the
// words, what they may have been meant to be, and where help is.
std::string DescribeUnknown(const CLI::App& app);

}  // namespace kiln::cmd
