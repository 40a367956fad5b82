#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "dockerfile/external.h"
#include "dockerfile/globals.h"
#include "dockerfile/lower.h"

namespace kiln::dockerfile {

inline constexpr const char* kEpochArg = "SOURCE_DATE_EPOCH";

// What SOURCE_DATE_EPOCH stands for: a number of seconds; or "context", a named context, or a stage
// that is made of nothing but one remote ADD: then, when that was made, which nobody may know.
Result<std::optional<std::int64_t>> ResolveEpoch(const std::string& text, const LowerInput& in,
                                                 const Variables& globals, Externals& externals);

}  // namespace kiln::dockerfile
