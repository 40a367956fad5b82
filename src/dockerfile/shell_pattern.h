#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kiln::dockerfile {

// The characters of a text; a byte that is no part of one stands for itself, beyond all of them.
std::u32string DecodeCharacters(std::string_view text);

// The glob of `${v#p}` and its relatives: `*` and `?` match any character but a newline, `\` makes
// `*`, `?`, `\`,
// `}` and `/` literal, everything else stands for itself.
class ShellPattern {
 public:
  static Result<ShellPattern> Compile(std::string_view pattern);

  // Each returns the value with the match taken away or replaced. An error means that too much work
  // was needed.
  Result<std::string> RemovePrefix(std::string_view value, bool longest) const;
  Result<std::string> RemoveSuffix(std::string_view value, bool longest) const;
  Result<std::string> Replace(std::string_view value, std::string_view with, bool all) const;

 private:
  enum class Kind { kLiteral, kAny, kStar };
  struct Token {
    Kind kind = Kind::kLiteral;
    char32_t character = 0;
  };
  class Matcher;
  std::vector<Token> tokens_;
};

}  // namespace kiln::dockerfile
