#pragma once

#include <cstdint>
#include <string_view>

namespace kiln::store {

// The format's magic bytes and its checksum over everything before it, for tests that write indexes
// of their own.
inline constexpr std::string_view kLayerIndexMagic = "kilnidx\x01";
uint64_t LayerIndexChecksum(std::string_view data);

}  // namespace kiln::store
