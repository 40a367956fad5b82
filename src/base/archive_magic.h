#pragma once

#include <cstddef>
#include <string_view>

namespace kiln {

// How many bytes LooksLikeArchive wants to see.
inline constexpr size_t kArchiveMagicBytes = 1024;

// Whether a file that begins so is a tar or something compressed (bzip2, gzip, xz, zstd): told from
// its first bytes alone, as clients tell a build context from a Dockerfile.
bool LooksLikeArchive(std::string_view begin);

}  // namespace kiln
