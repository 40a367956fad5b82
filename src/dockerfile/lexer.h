#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace kiln::dockerfile {

inline constexpr std::size_t kMaxPhysicalLine = 65535;  // bytes, without the line end

// One instruction as text: continuations joined, comments taken out, heredoc bodies beside it.
struct LogicalLine {
  std::string text;
  LineRange lines;  // heredoc bodies included
  std::vector<std::string> comments;
  std::vector<Heredoc> heredocs;
};

struct LexedFile {
  char escape = '\\';
  std::vector<LogicalLine> lines;
  std::vector<LineRange> empty_continuations;
};

// Errors carry their place in `file`.
Result<LexedFile> Lex(const SourceFile& file);

// For one instruction that stands outside a file (an ONBUILD trigger): its text with heredoc
// bodies.
Result<LogicalLine> LexInstruction(std::string_view text, char escape);

// Without "\r\n" or the like.
std::string_view TrimLineEnd(std::string_view line);
// Takes a trailing escape character off; false if the line is not continued.
bool TakeContinuation(std::string_view& line, char escape);

}  // namespace kiln::dockerfile
