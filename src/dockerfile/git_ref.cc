#include "dockerfile/git_ref.h"

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

// Percent-decoding as in application/x-www-form-urlencoded.
Result<std::string> Unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
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
  if (!parsed) return Unknown("invalid value for query {}: {}", Quoted(key), Quoted(value));
  return *parsed;
}

Status SetRef(llb::GitSource& source, const std::string& ref) {
  if (!source.ref.empty() && source.ref != ref)
    return Unknown("ref conflicts: {} vs {}", source.ref, ref);
  source.ref = ref;
  return OkStatus();
}

Status ApplyQuery(const Query& query, llb::GitSource& source) {
  if (query.contains("tag") && query.contains("branch")) {
    return Unknown("tag conflicts with branch");
  }
  for (const auto& [key, value] : query) {
    if (key == "keep-git-dir") {
      TRY_ASSIGN(source.keep_git_dir, Switch(key, value));
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
      TRY(SetRef(source, "refs/tags/" + value));
    } else if (key == "branch") {
      TRY(SetRef(source, "refs/heads/" + value));
    } else if (key == "subdir") {
      if (!source.subdir.empty() && source.subdir != value) {
        return Unknown("subdir conflicts: {} vs {}", source.subdir, value);
      }
      source.subdir = value;
    } else if (key == "checksum" || key == "commit") {
      source.checksum = value;
    } else if (key == "mtime") {
      if (value != "checkout" && value != "commit") {
        return Unknown("invalid value for query \"mtime\": {}", Quoted(value));
      }
      source.mtime = value;
    } else {
      return Unknown("unexpected query {}{}", Quoted(key),
                     DidYouMean(key, {"ref", "tag", "branch", "subdir", "checksum", "commit",
                                      "keep-git-dir", "submodules", "fetch-by-commit", "mtime"}));
    }
  }
  return OkStatus();
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
  const std::string_view path = url.substr(0, url.find_first_of("?#"));
  const auto scheme = path.find("://");
  std::string_view after_host = scheme == std::string_view::npos ? path : path.substr(scheme + 3);
  const auto slash = after_host.rfind('/');
  const std::string name(slash == std::string_view::npos ? "" : after_host.substr(slash + 1));
  return name.empty() ? "__unnamed__" : name;
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

Result<std::optional<llb::GitSource>> ParseGitRef(std::string_view text) {
  using Found = std::optional<llb::GitSource>;
  std::string_view remote = text;
  std::string_view fragment;
  std::string_view query;
  if (const auto cut = Cut(remote, "#")) std::tie(remote, fragment) = *cut;
  if (const auto cut = Cut(remote, "?"); cut && !IsScpStyle(remote)) std::tie(remote, query) = *cut;
  if (!LooksLikeGit(remote)) return Found();
  llb::GitSource source;
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
