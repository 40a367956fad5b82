#pragma once

#include <cctype>
#include <string_view>

namespace kiln::dockerfile {

// U+FEFF in UTF-8, which some editors put before a text; it is no part of it.
inline constexpr std::string_view kBom = "\xEF\xBB\xBF";

// Space, tab, newline, carriage return, form feed, vertical tab.
inline bool IsBlank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

}  // namespace kiln::dockerfile
