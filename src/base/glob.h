#pragma once

#include <string_view>

#include "base/result.h"

namespace kiln {

// Shell pattern with the rules of Go's path.Match: `*` and `?` match no '/', `[a-z]` and `[^a-z]`
// classes, `\` escapes. The whole name must match. An error (InvalidArgument, "syntax error in
// pattern") for a malformed pattern, found even where the name already differs.
Result<bool> GlobMatch(std::string_view pattern, std::string_view name);

// True if the text has an unescaped `*`, `?` or `[`.
bool HasGlobMeta(std::string_view text);

}  // namespace kiln
