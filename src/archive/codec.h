#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "archive/compression.h"

namespace kiln::archive {

// One way of compressing a stream as independent blocks whose outputs are concatenated in order:
// what LayerPipeline runs in parallel. Stateless and safe from any thread.
class BlockCodec {
 public:
  virtual ~BlockCodec() = default;
  virtual size_t block_bytes() const = 0;
  // How much of the preceding input CompressBlock wants to see.
  virtual size_t history_bytes() const { return 0; }
  virtual std::string Header() const { return {}; }
  virtual Result<std::string> CompressBlock(std::string_view history,
                                            std::string_view block) const = 0;
  virtual std::string Trailer(uint32_t /*crc*/, uint64_t /*bytes*/) const { return {}; }
  virtual bool wants_crc() const { return false; }
};

// Null for Compression::kNone.
std::unique_ptr<BlockCodec> MakeCodec(const CompressionOptions& options);

// CRC-32 of gzip (RFC 1952), continued from `crc`.
uint32_t UpdateCrc(uint32_t crc, std::string_view data);

}  // namespace kiln::archive
