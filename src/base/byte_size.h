#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace kiln {

// "512m", "1.5 GB", "2GiB", "100": bytes, units being powers of 1024 in any case, as Docker's flags
// have them. Nothing if the text is no size, is negative or does not fit int64_t.
std::optional<int64_t> ParseByteSize(std::string_view text);

}  // namespace kiln
