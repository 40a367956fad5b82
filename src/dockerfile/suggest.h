#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kiln::dockerfile {

// " (did you mean X?)" with the candidate nearest to `word`, or "" if none is within two edits.
// Case is ignored; among equals the first in byte order wins.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace kiln::dockerfile
