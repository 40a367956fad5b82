#pragma once

#include <map>
#include <string>

#include "base/result.h"

namespace kiln::cmd {

// `--call METHOD[,format=json][,ignorestatus=true]`: what is asked about a Dockerfile instead of
// building it.
struct CallMethod {
  std::string name;  // "lint", "outline", "targets", …; empty: build
  bool json = false;
  bool ignore_status = false;
};

// "check" is "lint", "build" nothing.
Result<CallMethod> ParseCallMethod(const std::string& text);

struct CallReport {
  std::string out;    // for standard output
  std::string error;  // for standard error: the Dockerfile cannot be built
  int status = 0;     // of the process
};

// What `docker buildx build --call` prints of a result's metadata. `file` is how the user named the
// Dockerfile.
CallReport ReportCall(const CallMethod& method, const std::map<std::string, std::string>& metadata,
                      const std::string& file);

}  // namespace kiln::cmd
