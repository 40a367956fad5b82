#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace kiln::cmd {

// `kiln check`: the build checks of a Dockerfile, without an engine.
struct CheckFlags {
  std::string path = ".";
  std::string target;
  std::vector<std::string> build_args;
  std::string format = "text";
  bool fix = false;
};

void AddCheckOptions(CLI::App& app, CheckFlags& flags);
// Prints what is found. The exit status: 1 if that is anything.
int RunCheck(const CheckFlags& flags);

}  // namespace kiln::cmd
