#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/host.h"

namespace kiln::dockerfile {

// The patterns of a .dockerignore file, cleaned, in order, "!" kept.
Result<std::vector<std::string>> ParseDockerignore(std::string_view data);

// The text of such a file; nullopt if there is none, or if the client shares no such tree. A folder
// of that name says nothing.
Result<std::optional<std::string>> ReadIgnoreFile(Host& host, const llb::Output& tree,
                                                  const std::string& path);

}  // namespace kiln::dockerfile
