#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kiln::client {

// The character at the front of a text of valid UTF-8, and how many bytes it has.
struct Utf8Char {
  char32_t value = 0;
  size_t bytes = 1;
};
Utf8Char FirstChar(std::string_view text);

// Columns of a terminal that a character takes: 0 for what combines, 2 for East Asian wide ones and
// emoji (Unicode 15, in ranges).
size_t CharColumns(char32_t c);
// Of a clean text (see CleanLine); colours take none.
size_t TextColumns(std::string_view text);
// At most so many columns of a clean text; where something is cut off, "…" says so.
std::string FitColumns(std::string_view text, size_t columns);

}  // namespace kiln::client
