#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/flags.h"

// One parse function per instruction; the table that names them is their only user besides tests.
namespace kiln::dockerfile {

// What a parse function gets: keyword and flags are already taken off and checked.
struct ParseInput {
  std::string keyword;
  Flags flags;
  std::string rest;
  std::vector<Heredoc> heredocs;
  char escape = '\\';
};

using ParseFunction = Result<InstructionBody> (*)(ParseInput& in);

struct InstructionSpec {
  std::string_view keyword;
  std::span<const FlagSpec> flags;
  ParseFunction parse = nullptr;
  bool ignores_flags = false;  // known or not
};

std::span<const InstructionSpec> InstructionSpecs();
const InstructionSpec* FindInstruction(std::string_view keyword);

}  // namespace kiln::dockerfile
