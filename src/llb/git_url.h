#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace kiln::llb {

// A git remote with the `#ref:subdir` behind it taken apart.
struct GitUrl {
  std::string scheme;  // http, https, ssh, git
  std::string host;    // with the port
  std::string path;    // percent-decoded
  std::string remote;  // to hand to git: without fragment and query
  std::string ref;
  std::string subdir;  // cleaned, relative
};

// A URL of one of the four schemes, or SCP style (user@host:path). Unknown: `unknown protocol`,
// `invalid protocol: x`.
Result<GitUrl> ParseGitUrl(std::string_view text);

// `text` with "https://" before it, unless it says how to reach the remote.
std::string WithGitTransport(std::string_view text);

}  // namespace kiln::llb
