#include "dockerfile/git_ref.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "base/strings.h"
#include "dockerfile/suggest.h"

namespace kiln::dockerfile {
namespace {

using Query = std::map<std::string, std::string>;

// Percent-decoding; in a query, as in application/x-www-form-urlencoded, '+' is a blank.
Result<std::string> Unescape(std::string_view text, bool plus_is_blank = true) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_blank) {
      out += ' ';
    } else if (text[i] == '%') {
      const std::string_view hex = text.substr(i + 1, 2);
      const auto byte = ParseUint(hex, 16);
      if (!byte || hex.size() != 2) return Unknown("invalid URL escape in {}", Quoted(text));
      out += static_cast<char>(*byte);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<Query> ParseQuery(std::string_view text) {
  Query query;
  if (text.empty()) return query;
  for (const std::string_view pair : Split(text, '&')) {
    if (pair.empty()) continue;
    const auto cut = Cut(pair, "=");
    TRY_ASSIGN(std::string key, Unescape(cut ? cut->first : pair));
    TRY_ASSIGN(std::string value, Unescape(cut ? cut->second : std::string_view()));
    if (!query.emplace(key, std::move(value)).second) {
      return Unknown("query {} has multiple values", Quoted(key));
    }
  }
  return query;
}

Result<bool> Switch(const std::string& key, const std::string& value) {
  if (value.empty()) return true;
  const auto parsed = ParseBool(value);
  if (!parsed) return Unknown("invalid {} value: {}", key, Quoted(value));
  return *parsed;
}

Status SetRef(llb::GitSource& source, const std::string& ref) {
  if (!source.ref.empty() && source.ref != ref) {
    return Unknown("ref conflicts: {} vs {}", Quoted(source.ref), Quoted(ref));
  }
  source.ref = ref;
  return OkStatus();
}

// A branch or tag, for which the full name of the ref may stand as well.
Status SetNamedRef(llb::GitSource& source, std::string_view prefix, const std::string& name) {
  return SetRef(source, name.starts_with(prefix) ? name : std::string(prefix) + name);
}

Status ApplyQuery(const Query& query, GitRef& source) {
  std::string tag;
  std::string branch;
  for (const auto& [key, value] : query) {
    if (key == "keep-git-dir") {
      TRY_ASSIGN(source.keep_git_dir, Switch(key, value));
      source.keep_git_dir_said = source.keep_git_dir;
      continue;
    }
    if (key == "submodules") {
      TRY_ASSIGN(const bool on, Switch(key, value));
      source.skip_submodules = !on;
      continue;
    }
    if (key == "fetch-by-commit") {
      TRY_ASSIGN(source.fetch_by_commit, Switch(key, value));
      continue;
    }
    if (value.empty()) return Unknown("query {} has no value", Quoted(key));
    if (key == "ref") {
      TRY(SetRef(source, value));
    } else if (key == "tag") {
      tag = value;
    } else if (key == "branch") {
      branch = value;
    } else if (key == "subdir") {
      if (!source.subdir.empty() && source.subdir != value) {
        return Unknown("subdir conflicts: {} vs {}", Quoted(source.subdir), Quoted(value));
      }
      source.subdir = value;
    } else if (key == "checksum" || key == "commit") {
      source.checksum = value;
    } else if (key == "mtime") {
      if (value != "checkout" && value != "commit") {
        return Unknown("invalid mtime value: {} (must be \"checkout\" or \"commit\")",
                       Quoted(value));
      }
      source.mtime = value;
    } else {
      return Unknown("unexpected query {}{}", Quoted(key),
                     DidYouMean(key, {"ref", "tag", "branch", "subdir", "checksum", "commit",
                                      "keep-git-dir", "submodules", "fetch-by-commit", "mtime"}));
    }
  }
  if (!tag.empty()) TRY(SetNamedRef(source, "refs/tags/", tag));
  if (branch.empty()) return OkStatus();
  if (!tag.empty()) return Unknown("branch conflicts with tag");
  return SetNamedRef(source, "refs/heads/", branch);
}

bool LooksLikeGit(std::string_view remote) {
  if (remote.starts_with("./") || remote.starts_with("../")) return false;
  if (remote.starts_with("git://") || remote.starts_with("ssh://")) return true;
  if (IsHttpUrl(remote)) return remote.ends_with(".git");
  return IsScpStyle(remote);
}

}  // namespace

bool IsHttpUrl(std::string_view text) {
  return text.starts_with("http://") || text.starts_with("https://");
}

std::string UrlFilename(std::string_view url) {
  constexpr const char* kUnnamed = "__unnamed__";
  const std::string_view path = url.substr(0, url.find_first_of("?#"));
  const auto scheme = path.find("://");
  const std::string_view after = scheme == std::string_view::npos ? path : path.substr(scheme + 3);
  const auto root = after.find('/');
  if (root == std::string_view::npos) return kUnnamed;
  const Result<std::string> decoded = Unescape(after.substr(root), /*plus_is_blank=*/false);
  if (!decoded.ok()) return kUnnamed;
  const std::string name = BaseName(*decoded);
  return name.empty() || name == "." || name == "/" ? kUnnamed : name;
}

bool IsScpStyle(std::string_view text) {
  const auto at = text.find('@');
  if (at == std::string_view::npos || at == 0) return false;
  const auto colon = text.find(':', at);
  if (colon == std::string_view::npos || colon == at + 1) return false;
  for (const char c : text.substr(0, at)) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '_') return false;
  }
  for (const char c : text.substr(at + 1, colon - at - 1)) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '.') return false;
  }
  return !text.substr(colon + 1).starts_with("//");
}

Result<Digest> ParseChecksum(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto cut = Cut(text, ":");
  const auto word = [](std::string_view name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0;
    });
  };
  if (!cut || !word(cut->first) || cut->second.empty()) {
    return Unknown("invalid checksum digest format");
  }
  const auto& [algorithm, hex] = *cut;
  if (algorithm != "sha256") return Unknown("unsupported digest algorithm");
  if (hex.size() != 64) return Unknown("invalid checksum digest length");
  if (hex.find_first_not_of(kHex) != std::string_view::npos) {
    return Unknown("invalid checksum digest format");
  }
  return Digest::Parse(text);
}

llb::SourceSpec GitSpec(const llb::GitSource& source, bool advice) {
  llb::SourceSpec spec = llb::Format(source);
  // Git is never talkative here: the attribute is for who reads the graph.
  if (advice) spec.attrs["git.advice"] = "true";
  return spec;
}

Result<std::optional<GitRef>> ParseGitRef(std::string_view text, bool any_https) {
  using Found = std::optional<GitRef>;
  std::string_view remote = text;
  std::string_view fragment;
  std::string_view query;
  if (const auto cut = Cut(remote, "#")) std::tie(remote, fragment) = *cut;
  if (const auto cut = Cut(remote, "?"); cut && !IsScpStyle(remote)) std::tie(remote, query) = *cut;
  if (!LooksLikeGit(remote) && !(any_https && IsHttpUrl(remote))) return Found();
  GitRef source;
  source.remote = remote;
  if (const auto cut = Cut(fragment, ":")) {
    source.ref = cut->first;
    source.subdir = cut->second;
  } else {
    source.ref = fragment;
  }
  TRY_ASSIGN(const Query values, ParseQuery(query));
  TRY(ApplyQuery(values, source));
  source.auth_header_secret = "GIT_AUTH_HEADER";
  source.auth_token_secret = "GIT_AUTH_TOKEN";
  if (remote.starts_with("ssh://") || IsScpStyle(remote)) source.ssh_id = "default";
  return Found(std::move(source));
}

}  // namespace kiln::dockerfile
