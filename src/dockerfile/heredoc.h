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

// The body as the command or file gets it: without leading tabs if `<<-` was written.
std::string HeredocText(const Heredoc& heredoc);

}  // namespace kiln::dockerfile
