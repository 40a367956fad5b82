#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace kiln::dockerfile {

// " (did you mean X?)" with the candidate nearest to `word`, or "" if none is within two edits.
// Case is ignored; among equals the first in byte order wins.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates);

// The name nearest to that of a variable, at most two edits away, or "". Case matters; among equals
// the first wins. "" as well if `word` is one of them.
std::string NearestVariable(std::string_view word, const std::vector<std::string>& names);

// A tree that is not there, with the one of `stages` or of images everybody uses that its name
// looks like.
Error WithNearestTree(Error error, std::string_view name, std::vector<std::string> stages);

}  // namespace kiln::dockerfile
