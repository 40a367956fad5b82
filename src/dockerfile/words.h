#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

// The argument grammars of instructions, below the level of meaning.
namespace kiln::dockerfile {

struct SplitInstruction {
  std::string keyword;             // upper case
  std::vector<std::string> flags;  // words beginning with "--", quotes and escapes removed
  std::string rest;                // trimmed
};

// Takes the keyword and the flags off a logical line. A bare "--" ends the flags.
SplitInstruction SplitLogicalLine(std::string_view text, char escape);

// `["a", "b"]`. nullopt: not a JSON array, take another grammar. Error: an array of other things
// than strings.
Result<std::optional<std::vector<std::string>>> ParseJsonStrings(std::string_view text);

// Split at blanks; quotes mean nothing.
std::vector<std::string> BlankWords(std::string_view text);

// Split at blanks outside quotes; quotes and escapes stay in the words.
std::vector<std::string> QuotedWords(std::string_view text, char escape);

}  // namespace kiln::dockerfile
