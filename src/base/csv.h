#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kiln {

// One record of RFC 4180: fields may be in double quotes, a doubled quote inside stands for one.
// An empty text has no fields; one end of line may follow the last.
Result<std::vector<std::string>> ParseCsv(std::string_view text);

// A record whose fields are `key=value`, in the order given. Keys are in lower case and without
// blanks around them, values stay as they are. A field without "=" or without a key is an error.
Result<std::vector<std::pair<std::string, std::string>>> ParseKeyValues(std::string_view text);

}  // namespace kiln
