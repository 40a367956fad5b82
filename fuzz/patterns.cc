// A .dockerignore or the patterns of a transfer, asked about paths; globs of COPY and of names.
#include <algorithm>
#include <string>

#include "base/check.h"
#include "base/glob.h"
#include "base/pattern_matcher.h"
#include "base/strings.h"
#include "dockerfile/dockerignore.h"
#include "parts.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose

bool IsClean(std::string_view path) {
  return !path.empty() && CleanPath(path) == path && !path.starts_with('/') &&
         !path.starts_with("..") && path != ".";
}

// As a walk asks: directory by directory.
void Walk(const PatternMatcher& matcher, std::string_view path) {
  PatternMatcher::MatchInfo above;
  bool has_above = false;
  for (size_t end = 0; end != path.npos;) {
    end = path.find('/', end == 0 ? 0 : end + 1);
    const std::string_view prefix = path.substr(0, end);
    PatternMatcher::MatchInfo info;
    const bool matches = matcher.Matches(prefix, has_above ? &above : nullptr, &info);
    // A pattern that was passed over for a folder, because another had matched it already, is not
    // asked about that folder again for what is in it: with exceptions that makes a difference.
    CHECK(matcher.has_exceptions() || matches == matcher.MatchesOrParentMatches(prefix));
    if (end != path.npos) (void)matcher.CouldMatchBelow(prefix);
    if (end != path.npos) (void)matcher.ExceptionCouldMatchBelow(prefix);
    above = std::move(info);
    has_above = true;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4096) return 0;
  const Parts parts(data, size);
  if (const auto lines = dockerfile::ParseDockerignore(parts[0]); lines.ok()) {
    const auto matcher = PatternMatcher::Create(*lines);
    if (matcher.ok()) {
      (void)matcher->empty();
      (void)matcher->has_exceptions();
      for (size_t i = 1; i < parts.size(); ++i) {
        for (const std::string_view path : Split(parts[i], '\n')) {
          if (IsClean(path)) Walk(*matcher, path);
        }
      }
    }
  }
  for (const std::string_view pattern : Split(parts[0], '\n')) {
    (void)HasGlobMeta(pattern);
    for (const std::string_view name : Split(parts[1], '\n')) {
      const auto matches = GlobMatch(pattern, name);
      // Without anything special only the same matches.
      if (matches.ok() && !HasGlobMeta(pattern) && pattern.find('\\') == pattern.npos)
        CHECK(*matches == (pattern == name));
    }
  }
  return 0;
}
