#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kiln {

// One record of RFC 4180: fields may be in double quotes, a doubled quote inside stands for one.
// An empty text has no fields.
Result<std::vector<std::string>> ParseCsv(std::string_view text);

}  // namespace kiln
