#pragma once

#include <memory>

#include "archive/stream.h"

namespace kiln::archive {

// Decompresses what Decompress (compression.h) does not know: bzip2 and xz, chosen by magic bytes;
// plain bytes pass through. Reads `fd` from its current position; the caller keeps it open. Slower
// than Decompress: for archives that users add, not layers.
Result<std::unique_ptr<ByteSource>> OpenFiltered(int fd);

}  // namespace kiln::archive
