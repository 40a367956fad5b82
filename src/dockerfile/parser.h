#pragma once

#include <string_view>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/lexer.h"

namespace kiln::dockerfile {

// The whole file. Errors carry their place; those of an instruction begin with
// "dockerfile parse error on line N".
Result<Dockerfile> Parse(const SourceFile& file);

// The same into `out`, which keeps what stands before an error.
Status ParseInto(const SourceFile& file, Dockerfile& out);

// One logical line, whatever its keyword. Errors have no place yet.
Result<Instruction> ParseInstruction(LogicalLine line, char escape);

// The instruction of an ONBUILD trigger.
Result<Instruction> ParseTrigger(std::string_view text, char escape);

}  // namespace kiln::dockerfile
