#pragma once

// Inside source only: what git says of remotes, and their names. No git is called here.

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "llb/source_id.h"

namespace kiln::source {

// What a ref of a remote is.
struct GitRevision {
  std::string commit;  // hex
  std::string tag;     // hex of the annotated tag that points there; "" if there is none
  std::string ref;     // "refs/heads/main"; "" if a commit was asked for
  // What a checkout with history is pinned to, and what provenance shows.
  const std::string& pin() const { return tag.empty() ? commit : tag; }
};

// 40 or 64 lower-case hex digits.
bool IsCommitSha(std::string_view text);

// What the output of `git ls-remote` (with --symref for HEAD) says of the source's ref.
Result<GitRevision> RevisionIn(const std::string& out, const llb::GitSource& spec);

// The error that says so unless commit or tag begin with the checksum that was asked for.
Status CheckGitChecksum(const llb::GitSource& spec, const GitRevision& revision);

// Where "user:password@" begins between "://" and the host, and its size without the "@".
std::pair<size_t, size_t> UserInfoOf(std::string_view url);

// A remote's URL for people: no password or token.
std::string RedactRemote(std::string_view url);

}  // namespace kiln::source
