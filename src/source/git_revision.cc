#include "source/git_revision.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::source {
namespace {

bool IsHex(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

// Lines "<hex>\t<name>" of ls-remote.
std::map<std::string, std::string> ParseRefs(const std::string& out) {
  std::map<std::string, std::string> refs;
  for (const std::string_view line : Split(out, '\n')) {
    const auto pair = Cut(line, "\t");
    if (pair && IsCommitSha(pair->first)) refs.emplace(pair->second, pair->first);
  }
  return refs;
}

// What HEAD of a remote stands for: "ref: refs/heads/main\tHEAD". "" if it is detached.
std::string SymbolicHead(const std::string& out) {
  for (const std::string_view line : Split(out, '\n')) {
    if (!line.starts_with("ref: ")) continue;
    const auto pair = Cut(line.substr(5), "\t");
    if (pair && pair->second == "HEAD" && pair->first.starts_with("refs/"))
      return std::string(pair->first);
  }
  return {};
}

}  // namespace

Result<GitRevision> RevisionIn(const std::string& out, const llb::GitSource& spec) {
  const bool head = spec.ref.empty() || spec.ref == "HEAD";
  const std::map<std::string, std::string> refs = ParseRefs(out);
  GitRevision revision;
  if (head) {
    if (const auto found = refs.find("HEAD"); found != refs.end()) {
      revision.commit = found->second;
      revision.ref = SymbolicHead(out);
      return revision;
    }
  }
  for (const char* prefix : {"", "refs/", "refs/heads/", "refs/tags/"}) {
    const std::string name = prefix + spec.ref;
    const auto found = refs.find(name);
    if (found == refs.end() || !name.starts_with("refs/")) continue;
    revision.ref = name;
    revision.commit = found->second;
    if (const auto peeled = refs.find(name + "^{}"); peeled != refs.end()) {
      revision.tag = std::exchange(revision.commit, peeled->second);
    }
    return revision;
  }
  return Unknown("repository does not contain ref {}, output: {}", head ? "HEAD" : spec.ref,
                 Quoted(out));
}

bool IsCommitSha(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) && IsHex(text);
}

Status CheckGitChecksum(const llb::GitSource& spec, const GitRevision& revision) {
  if (spec.checksum.empty()) return OkStatus();
  if (!IsHex(spec.checksum) || spec.checksum.size() > 64) {
    return InvalidArgument("invalid checksum {} for Git URL, expected hex commit hash",
                           spec.checksum);
  }
  if (revision.commit.starts_with(spec.checksum) || revision.tag.starts_with(spec.checksum))
    return OkStatus();
  const std::string alternative = revision.tag.empty() ? "" : " or " + revision.commit;
  return Unknown("expected checksum to match {}, got {}{}", spec.checksum, revision.pin(),
                 alternative);
}

std::pair<size_t, size_t> UserInfoOf(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return {0, 0};
  const size_t begin = scheme + 3;
  const size_t end = std::min(url.find_first_of("/?#", begin), url.size());
  const size_t at = url.substr(0, end).rfind('@');
  if (at == std::string_view::npos || at < begin) return {0, 0};
  return {begin, at - begin};
}

std::string RedactRemote(std::string_view url) {
  const auto [begin, size] = UserInfoOf(url);
  std::string result(url);
  if (size == 0 || url.starts_with("ssh://")) {
    // Who logs in by key is no secret; a password is.
    const size_t colon = size == 0 ? result.npos : result.substr(begin, size).find(':');
    if (colon != result.npos) result.replace(begin + colon + 1, size - colon - 1, "xxxxx");
    return result;
  }
  const bool password = url.substr(begin, size).find(':') != std::string_view::npos;
  return result.replace(begin, size, password ? "xxxxx:xxxxx" : "xxxxx");
}

}  // namespace kiln::source
