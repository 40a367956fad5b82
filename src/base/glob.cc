#include "base/glob.h"

#include <optional>

#include "base/strings.h"

namespace kiln {
namespace {

// One element of a pattern, matched against the front of a name.
enum class Step { kMatch, kNoMatch, kBad };

// A class character, escapes resolved; nullopt if malformed.
std::optional<char> TakeClassChar(std::string_view& pattern) {
  if (pattern.empty() || pattern[0] == '-' || pattern[0] == ']') return std::nullopt;
  if (pattern[0] == '\\') pattern.remove_prefix(1);
  if (pattern.empty()) return std::nullopt;
  char c = pattern[0];
  pattern.remove_prefix(1);
  if (pattern.empty()) return std::nullopt;
  return c;
}

// `pattern` stands behind the '['; it is advanced behind the ']'.
Step MatchClass(std::string_view& pattern, char c) {
  bool negated = pattern.starts_with('^');
  if (negated) pattern.remove_prefix(1);
  bool matched = false;
  for (size_t ranges = 0;; ++ranges) {
    if (ranges > 0 && pattern.starts_with(']')) {
      pattern.remove_prefix(1);
      break;
    }
    auto low = TakeClassChar(pattern);
    if (!low) return Step::kBad;
    auto high = low;
    if (pattern.starts_with('-')) {
      pattern.remove_prefix(1);
      high = TakeClassChar(pattern);
      if (!high) return Step::kBad;
    }
    auto byte = static_cast<unsigned char>(c);
    if (static_cast<unsigned char>(*low) <= byte && byte <= static_cast<unsigned char>(*high)) {
      matched = true;
    }
  }
  return matched != negated ? Step::kMatch : Step::kNoMatch;
}

// Consumes one non-star element of the pattern; the name's front character if it matches.
Step TakeElement(std::string_view& pattern, std::string_view& name, bool name_ended) {
  char want = pattern[0];
  pattern.remove_prefix(1);
  char have = name.empty() ? '\0' : name[0];
  Step step;
  if (want == '[') {
    step = MatchClass(pattern, have);
    if (step == Step::kMatch && have == '/') step = Step::kNoMatch;
  } else if (want == '?') {
    step = have != '/' ? Step::kMatch : Step::kNoMatch;
  } else {
    if (want == '\\') {
      if (pattern.empty()) return Step::kBad;
      want = pattern[0];
      pattern.remove_prefix(1);
    }
    step = want == have ? Step::kMatch : Step::kNoMatch;
  }
  if (step == Step::kBad) return step;
  if (name_ended || name.empty()) return Step::kNoMatch;
  if (step == Step::kMatch) name.remove_prefix(1);
  return step;
}

Error BadPattern(std::string_view pattern) {
  return InvalidArgument("syntax error in pattern {}", Quoted(pattern));
}

// Whether the pattern is well-formed.
bool WellFormed(std::string_view pattern) {
  std::string_view no_name;
  while (!pattern.empty()) {
    if (pattern[0] == '*') {
      pattern.remove_prefix(1);
    } else if (TakeElement(pattern, no_name, true) == Step::kBad) {
      return false;
    }
  }
  return true;
}

}  // namespace

Result<bool> GlobMatch(std::string_view pattern, std::string_view name) {
  if (!WellFormed(pattern)) return BadPattern(pattern);
  // Where to go on when an element fails: behind the last star, one character of the name later.
  std::optional<std::pair<std::string_view, std::string_view>> retry;
  for (;;) {
    if (pattern.empty() && name.empty()) return true;
    if (!pattern.empty() && pattern[0] == '*') {
      pattern.remove_prefix(1);
      retry = {pattern, name};
      continue;
    }
    if (!pattern.empty() && TakeElement(pattern, name, false) == Step::kMatch) continue;
    if (!retry || retry->second.empty() || retry->second[0] == '/') return false;
    retry->second.remove_prefix(1);
    pattern = retry->first;
    name = retry->second;
  }
}

bool HasGlobMeta(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '*' || text[i] == '?' || text[i] == '[') {
      return true;
    }
  }
  return false;
}

}  // namespace kiln
