// Files and answers on a client's side: Docker's config.json with what a credential helper prints.
// Input: 'c', then config.json, the helper's answer ("": none) and hosts.
#include <string>

#include "base/error.h"
#include "base/strings.h"
#include "client/docker_config.h"
#include "parts.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose
using namespace kiln::client;

void Config(const Parts& parts) {
  const auto helper = [&](const CancelToken&, const std::string& name,
                          const std::string&) -> Result<std::string> {
    if (parts[1].empty()) return NotFound("no login");
    if (name == "broken") return Unknown("the helper failed");
    return std::string(parts[1]);
  };
  for (const bool asks : {true, false}) {
    const auto config =
        DockerConfig::Parse(parts[0], asks ? DockerConfig::Helper(helper) : DockerConfig::Helper());
    if (!config.ok()) continue;
    (void)config->Find({}, "registry-1.docker.io");
    for (const std::string_view host : Split(parts[2], '\n'))
      (void)config->Find({}, std::string(host));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if (data[0] == 'c') Config(Parts(data + 1, size - 1));
  return 0;
}
