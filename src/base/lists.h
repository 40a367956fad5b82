#pragma once

#include <algorithm>
#include <string_view>

namespace kiln {

// Whether a word is one of a list's.
template <typename List>
bool Contains(const List& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace kiln
