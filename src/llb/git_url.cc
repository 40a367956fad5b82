#include "llb/git_url.h"

#include <cctype>
#include <optional>

#include "base/strings.h"

namespace kiln::llb {
namespace {

bool IsWord(std::string_view text, std::string_view further) {
  if (text.empty()) return false;
  for (char c : text)
    if (!isalnum(static_cast<unsigned char>(c)) && further.find(c) == std::string_view::npos)
      return false;
  return true;
}

// The lower-case scheme of "scheme://…"; empty if there is none.
std::string SchemeOf(std::string_view text) {
  auto parts = Cut(text, "://");
  if (!parts || !IsWord(parts->first, "")) return {};
  return ToLower(parts->first);
}

bool IsSupported(std::string_view scheme) {
  return scheme == "http" || scheme == "https" || scheme == "ssh" || scheme == "git";
}

struct ScpParts {
  std::string_view user;
  std::string_view host;
  std::string_view rest;  // path, query, fragment
};

std::optional<ScpParts> SplitScp(std::string_view text) {
  auto at = Cut(text, "@");
  if (!at || !IsWord(at->first, "-_")) return std::nullopt;
  auto colon = Cut(at->second, ":");
  if (!colon || !IsWord(colon->first, "-.")) return std::nullopt;
  return ScpParts{at->first, colon->first, colon->second};
}

std::string PercentDecode(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      if (auto byte = ParseUint(text.substr(i + 1, 2), 16)) {
        result += static_cast<char>(*byte);
        i += 2;
        continue;
      }
    }
    result += text[i];
  }
  return result;
}

void SetFragment(GitUrl& url, std::string_view fragment) {
  auto parts = Cut(fragment, ":");
  url.ref = parts ? parts->first : fragment;
  if (!parts) return;
  url.subdir = JoinPath("/", parts->second).substr(1);
}

// Takes fragment, then query off the end of `text`.
std::string_view SplitTail(std::string_view& text) {
  std::string_view fragment;
  if (size_t hash = text.find('#'); hash != std::string_view::npos) {
    fragment = text.substr(hash + 1);
    text = text.substr(0, hash);
  }
  text = text.substr(0, text.find('?'));
  return fragment;
}

}  // namespace

Result<GitUrl> ParseGitUrl(std::string_view text) {
  for (char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return Unknown("invalid control character in git URL {}", Quoted(text));
  GitUrl url;
  url.scheme = SchemeOf(text);
  if (!url.scheme.empty()) {
    if (!IsSupported(url.scheme)) return Unknown("invalid protocol: {}", url.scheme);
    std::string_view fragment = SplitTail(text);
    url.remote = text;
    std::string_view rest = Cut(text, "://")->second;
    std::string_view authority = rest.substr(0, rest.find('/'));
    url.path = PercentDecode(rest.substr(authority.size()));
    if (size_t at = authority.rfind('@'); at != std::string_view::npos)
      authority.remove_prefix(at + 1);
    url.host = authority;
    if (url.host.empty()) return Unknown("git URL {} has no host", Quoted(text));
    SetFragment(url, PercentDecode(fragment));
    return url;
  }
  auto scp = SplitScp(text);
  if (!scp) return Unknown("unknown protocol: {}", Quoted(text));
  url.scheme = "ssh";
  url.host = scp->host;
  std::string_view fragment = SplitTail(scp->rest);
  url.path = scp->rest;
  url.remote = fmt::format("{}@{}:{}", scp->user, scp->host, scp->rest);
  SetFragment(url, fragment);
  return url;
}

std::string WithGitTransport(std::string_view text) {
  if (IsSupported(SchemeOf(text)) || (SchemeOf(text).empty() && SplitScp(text)))
    return std::string(text);
  return "https://" + std::string(text);
}

}  // namespace kiln::llb
