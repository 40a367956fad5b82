#pragma once

#include <string_view>

#include "base/result.h"

namespace kiln::dockerfile {

// What can be wrong with a logical line before its instruction is looked at: arrays of other things
// than strings, words that are no name=value. Such errors come before those of all instructions.
Status CheckGrammar(std::string_view text, char escape);

}  // namespace kiln::dockerfile
