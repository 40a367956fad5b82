#pragma once

#include <cstdint>
#include <string_view>

#include "archive/tar.h"
#include "base/result.h"

namespace kiln::archive {

// Whether a piece of an entry's content is left out on the disk: zeros of a sparse entry.
bool IsHole(const TarEntry& entry, std::string_view data);

// Appends a piece of an entry's content to the file at `fd`, which then has `size` bytes. Zeros of
// a sparse entry become a hole, so that a short archive does not fill the disk. Errors: of the
// system calls.
Status AppendContent(int fd, const TarEntry& entry, std::string_view data, int64_t size);

}  // namespace kiln::archive
