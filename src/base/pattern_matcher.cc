#include "base/pattern_matcher.h"

#include <re2/re2.h>

#include "base/glob.h"
#include "base/strings.h"

namespace kiln {
namespace {

// A pattern as an RE2 expression that has to match a whole path.
std::string ToRegex(std::string_view pattern) {
  std::string regex;
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '*' && i + 1 < pattern.size() && pattern[i + 1] == '*') {
      ++i;
      if (i + 1 < pattern.size() && pattern[i + 1] == '/') ++i;
      regex.append(i + 1 == pattern.size() ? ".*" : "(?:.*/)?");
    } else if (c == '*') {
      regex.append("[^/]*");
    } else if (c == '?') {
      regex.append("[^/]");
    } else if (c == '[' || c == ']') {
      regex.push_back(c);
    } else if (c == '-' || c == '^') {
      // Bare, since they may stand inside a class.
      regex.append(c == '^' && (i == 0 || pattern[i - 1] != '[') ? "\\^" : std::string(1, c));
    } else if (c == '\\') {
      ++i;
      regex.append(RE2::QuoteMeta(i < pattern.size() ? pattern.substr(i, 1) : "\\"));
    } else {
      regex.append(RE2::QuoteMeta(pattern.substr(i, 1)));
    }
  }
  return regex;
}

bool IsLiteral(std::string_view pattern) {
  return pattern.find_first_of("*?[]\\") == std::string_view::npos;
}

}  // namespace

struct PatternMatcher::Pattern {
  std::string text;
  bool exception = false;
  std::unique_ptr<RE2> regex;  // null for literals

  bool Matches(std::string_view path) const {
    return regex ? RE2::FullMatch(re2::StringPiece(path.data(), path.size()), *regex)
                 : path == text;
  }

  bool MatchesAParent(std::string_view path) const {
    for (size_t slash = path.find('/'); slash != std::string_view::npos;
         slash = path.find('/', slash + 1)) {
      if (Matches(path.substr(0, slash))) return true;
    }
    return false;
  }

  // Whether a path below `directory` could match: compares component by component, up to a `**`.
  bool CouldMatchBelow(std::string_view directory) const {
    auto want = Split(text, '/');
    auto have = Split(directory, '/');
    for (size_t i = 0; i < have.size(); ++i) {
      if (i >= want.size() || want[i].find("**") != std::string_view::npos) return true;
      auto same = GlobMatch(want[i], have[i]);
      if (same.ok() && !*same) return false;
    }
    return true;
  }
};

PatternMatcher::PatternMatcher() = default;
PatternMatcher::~PatternMatcher() = default;
PatternMatcher::PatternMatcher(PatternMatcher&&) noexcept = default;
PatternMatcher& PatternMatcher::operator=(PatternMatcher&&) noexcept = default;

Result<PatternMatcher> PatternMatcher::Create(const std::vector<std::string>& patterns) {
  PatternMatcher matcher;
  for (const auto& original : patterns) {
    auto trimmed = Trim(original);
    if (trimmed.empty()) continue;
    auto pattern = std::make_unique<Pattern>();
    pattern->text = CleanPath(trimmed);
    if (pattern->text.starts_with('!')) {
      if (pattern->text.size() == 1) return InvalidArgument("illegal exclusion pattern: \"!\"");
      pattern->exception = true;
      pattern->text.erase(0, 1);
    }
    TRY(GlobMatch(pattern->text, "."));
    if (!IsLiteral(pattern->text)) {
      RE2::Options options(RE2::Latin1);
      options.set_log_errors(false);
      options.set_dot_nl(true);
      pattern->regex = std::make_unique<RE2>(ToRegex(pattern->text), options);
      if (!pattern->regex->ok())
        return InvalidArgument("syntax error in pattern {}", Quoted(original));
    }
    matcher.patterns_.push_back(std::move(pattern));
  }
  return matcher;
}

bool PatternMatcher::empty() const { return patterns_.empty(); }

bool PatternMatcher::has_exceptions() const {
  for (const auto& pattern : patterns_) {
    if (pattern->exception) return true;
  }
  return false;
}

bool PatternMatcher::MatchesOrParentMatches(std::string_view path) const {
  MatchInfo info;
  return Matches(path, nullptr, &info);
}

bool PatternMatcher::Matches(std::string_view path, const MatchInfo* parent,
                             MatchInfo* info) const {
  bool parent_known = parent != nullptr && !parent->empty();
  bool matched = false;
  info->assign(patterns_.size(), false);
  for (size_t i = 0; i < patterns_.size(); ++i) {
    const Pattern& pattern = *patterns_[i];
    bool match = parent_known && (*parent)[i];
    if (!match) {
      // A pattern that could not change the decision so far need not be tried.
      if (pattern.exception != matched) continue;
      match = pattern.Matches(path) || (!parent_known && pattern.MatchesAParent(path));
    }
    (*info)[i] = match;
    if (match) matched = !pattern.exception;
  }
  return matched;
}

bool PatternMatcher::CouldMatchBelow(std::string_view path) const {
  for (const auto& pattern : patterns_) {
    if (!pattern->exception && pattern->CouldMatchBelow(path)) return true;
  }
  return false;
}

bool PatternMatcher::ExceptionCouldMatchBelow(std::string_view path) const {
  for (const auto& pattern : patterns_) {
    if (pattern->exception && pattern->CouldMatchBelow(path)) return true;
  }
  return false;
}

}  // namespace kiln
