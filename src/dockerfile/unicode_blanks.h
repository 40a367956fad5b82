#pragma once

#include <cstddef>
#include <string_view>

// White space as BuildKit sees it: beyond ASCII, Unicode's counts too, such as the no-break spaces
// that come from web pages.
namespace kiln::dockerfile {

// How many bytes the blank takes that `text` begins with; 0 if it begins with none.
std::size_t BlankAt(std::string_view text);

std::string_view TrimBlanksLeft(std::string_view text);
std::string_view TrimBlanks(std::string_view text);

}  // namespace kiln::dockerfile
