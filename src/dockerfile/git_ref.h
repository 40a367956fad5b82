#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "llb/source_id.h"

namespace kiln::dockerfile {

struct GitRef : llb::GitSource {
  std::optional<bool> keep_git_dir_said;  // in the query, true or false
};

// A git URL with BuildKit's fragment `#ref[:subdir]` and query (`ref tag branch subdir checksum
// commit keep-git-dir submodules fetch-by-commit mtime`). nullopt: not a git URL at all.
Result<std::optional<GitRef>> ParseGitRef(std::string_view text, bool any_https = false);

// http:// or https://
bool IsHttpUrl(std::string_view text);
// The last name in a URL's path, "__unnamed__" if it has none.
std::string UrlFilename(std::string_view url);
// user@host:path
bool IsScpStyle(std::string_view text);

// The digest that `--checksum` of an ADD from HTTP says, in BuildKit's words if it is none.
Result<Digest> ParseChecksum(std::string_view text);

// The source as the graph has it. `advice`: BUILDKIT_GIT_ADVICE asks for git's advice messages.
llb::SourceSpec GitSpec(const llb::GitSource& source, bool advice);

}  // namespace kiln::dockerfile
