#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"

namespace kiln::dockerfile {

// Heredocs a line announces, in order, bodies empty: words `[fd]<<[-]NAME`; quoted text and `<<<`
// are none.
std::vector<Heredoc> HeredocsOf(std::string_view line);

// The heredoc a single word announces.
std::optional<Heredoc> ParseHeredocWord(std::string_view word);

// The words of COPY and ADD, split at blanks, but for those in the quoted name of a heredoc and
// those between `<<` and a name.
std::vector<std::string> PathWords(std::string_view text);

// Commands, without the carriage returns of a file whose every line has one.
std::string ScriptText(const std::string& text);

// The body as the command or file gets it: without leading tabs if `<<-` was written.
std::string HeredocText(const Heredoc& heredoc);

}  // namespace kiln::dockerfile
