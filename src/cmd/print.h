#pragma once

#include <string>
#include <string_view>

namespace kiln::cmd {

// To standard output. What another side made up (names, source lines, descriptions) could hold
// sequences that a terminal obeys: they are left out where it is one, and the bytes stay as they
// are in files and pipes, where programs read them.
void Print(std::string_view text);

// To standard error, always without such sequences: logs are looked at in terminals later.
void PrintError(std::string_view text);

}  // namespace kiln::cmd
