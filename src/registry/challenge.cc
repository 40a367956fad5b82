#include "registry/challenge.h"

#include <algorithm>

#include "base/strings.h"

namespace kiln::registry {
namespace {

constexpr size_t kMaxHeaderBytes = 16 << 10;
constexpr size_t kMaxChallenges = 16;

bool IsTokenChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool done() const { return position_ >= text_.size(); }
  void Skip(std::string_view set) {
    while (!done() && set.find(text_[position_]) != std::string_view::npos) ++position_;
  }
  std::string Token() {
    const size_t start = position_;
    while (!done() && IsTokenChar(text_[position_])) ++position_;
    return std::string(text_.substr(start, position_ - start));
  }
  bool Take(char c) {
    if (done() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  // A token or a quoted string with escapes.
  std::string Value() {
    if (!Take('"')) return Token();
    std::string out;
    while (!done() && text_[position_] != '"') {
      if (text_[position_] == '\\' && position_ + 1 < text_.size()) ++position_;
      out += text_[position_++];
    }
    Take('"');
    return out;
  }
  void StepOver() {
    if (!done()) ++position_;
  }

 private:
  std::string_view text_;
  size_t position_ = 0;
};

void ParseHeader(std::string_view header, std::vector<Challenge>& out) {
  Scanner scanner(header.substr(0, kMaxHeaderBytes));
  while (out.size() < kMaxChallenges) {
    scanner.Skip(" \t,");
    if (scanner.done()) return;
    const std::string word = scanner.Token();
    if (word.empty()) {
      scanner.StepOver();
      continue;
    }
    scanner.Skip(" \t");
    if (scanner.Take('=')) {
      scanner.Skip(" \t");
      std::string value = scanner.Value();
      if (!out.empty()) out.back().parameters.emplace(ToLower(word), std::move(value));
    } else {
      out.push_back({ToLower(word), {}});
    }
  }
}

int Rank(const Challenge& challenge) { return challenge.scheme == "bearer" ? 0 : 1; }

}  // namespace

std::vector<Challenge> ParseChallenges(const http::Headers& headers) {
  std::vector<Challenge> challenges;
  for (const std::string_view header : http::FindHeaders(headers, "WWW-Authenticate")) {
    std::vector<Challenge> found;
    ParseHeader(header, found);
    for (Challenge& challenge : found) {
      if (challenge.scheme == "bearer" || challenge.scheme == "basic") {
        challenges.push_back(std::move(challenge));
      }
    }
  }
  std::stable_sort(challenges.begin(), challenges.end(),
                   [](const Challenge& a, const Challenge& b) { return Rank(a) < Rank(b); });
  return challenges;
}

void ScopeSet::Add(std::string_view resource, std::string_view action) {
  actions_[std::string(resource)].emplace(action);
}

void ScopeSet::AddText(std::string_view scopes) {
  for (const std::string_view scope : Split(scopes, ' ')) {
    if (scope.empty()) continue;
    const size_t colon = scope.rfind(':');
    if (colon == std::string_view::npos || colon == 0) {
      actions_[std::string(scope)];
      continue;
    }
    for (const std::string_view action : Split(scope.substr(colon + 1), ',')) {
      if (!action.empty()) Add(scope.substr(0, colon), action);
    }
  }
}

void ScopeSet::AddAll(const ScopeSet& other) {
  for (const auto& [resource, actions] : other.actions_) {
    actions_[resource].insert(actions.begin(), actions.end());
  }
}

std::vector<std::string> ScopeSet::List() const {
  std::vector<std::string> list;
  for (const auto& [resource, actions] : actions_) {
    std::string scope = resource;
    char separator = ':';
    for (const std::string& action : actions) {
      scope += separator + action;
      separator = ',';
    }
    list.push_back(std::move(scope));
  }
  std::sort(list.begin(), list.end());
  return list;
}

std::string ScopeSet::ToString() const { return Join(List(), " "); }

}  // namespace kiln::registry
