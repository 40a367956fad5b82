#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kiln {

// An ordered list of .dockerignore-style patterns: `*` and `?` within a component, `**` across
// components, `!` for exceptions; the last pattern that matches decides. Immutable once made; safe
// from any thread. Paths are relative, '/'-separated and clean ("a/b").
class PatternMatcher {
 public:
  // For each pattern, whether it matched a path or one of its parents.
  using MatchInfo = std::vector<bool>;

  PatternMatcher();
  ~PatternMatcher();
  PatternMatcher(PatternMatcher&&) noexcept;
  PatternMatcher& operator=(PatternMatcher&&) noexcept;

  // Blank patterns are skipped; the others are cleaned. InvalidArgument names a malformed one.
  static Result<PatternMatcher> Create(const std::vector<std::string>& patterns);

  bool empty() const;
  bool has_exceptions() const;
  // Decides for a path on its own: parents are tried as well.
  bool MatchesOrParentMatches(std::string_view path) const;
  // Decides for a path met on a walk: `parent` is what the call for its parent directory stored in
  // `info` (null or empty for top-level entries). Linear in the number of patterns.
  bool Matches(std::string_view path, const MatchInfo* parent, MatchInfo* info) const;
  // For walks that list what is to be INCLUDED: whether something below directory `path` could
  // match although `path` itself does not. Never false when it could.
  bool CouldMatchBelow(std::string_view path) const;
  // For walks that EXCLUDE: whether an exception pattern could match below excluded directory
  // `path`.
  bool ExceptionCouldMatchBelow(std::string_view path) const;

 private:
  struct Pattern;
  std::vector<std::unique_ptr<Pattern>> patterns_;
};

}  // namespace kiln
