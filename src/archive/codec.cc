#include "archive/codec.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <memory>

namespace kiln::archive {
namespace {

void AppendLittleEndian(std::string& text, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) text.push_back(static_cast<char>(value >> shift));
}

// gzip (RFC 1952) from blocks of raw deflate, each ended on a byte boundary by a sync flush and
// primed with the 32 KiB before it. ISA-L's levels 1 and 2 give the same bytes on every x86-64;
// level 3 does not, and level 0 writes damaged streams when primed (seen with 2.30: a test holds
// mixed data against it).
class GzipCodec final : public BlockCodec {
 public:
  explicit GzipCodec(int level) : level_(level < 0 || level > 3 ? 2 : 1) {}

  size_t block_bytes() const override { return 1 << 20; }
  size_t history_bytes() const override { return IGZIP_HIST_SIZE; }
  bool wants_crc() const override { return true; }
  // No name, no time, unknown system: as Go writes it.
  std::string Header() const override { return std::string("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10); }

  Result<std::string> CompressBlock(std::string_view history,
                                    std::string_view block) const override {
    uint32_t level_bytes = level_ == 1 ? ISAL_DEF_LVL1_DEFAULT : ISAL_DEF_LVL2_DEFAULT;
    auto level_buffer = std::make_unique<uint8_t[]>(level_bytes);
    auto stream = std::make_unique<isal_zstream>();
    isal_deflate_init(stream.get());
    stream->level = static_cast<uint32_t>(level_);
    stream->level_buf = level_buffer.get();
    stream->level_buf_size = level_bytes;
    stream->gzip_flag = IGZIP_DEFLATE;
    stream->flush = SYNC_FLUSH;
    stream->end_of_stream = 0;
    if (!history.empty()) {
      isal_deflate_set_dict(stream.get(), Bytes(history), static_cast<uint32_t>(history.size()));
    }
    stream->next_in = Bytes(block);
    stream->avail_in = static_cast<uint32_t>(block.size());
    const size_t room = block.size() + block.size() / 8 + 1024;
    const auto output = std::make_unique_for_overwrite<uint8_t[]>(room);
    stream->next_out = output.get();
    stream->avail_out = static_cast<uint32_t>(room);
    int outcome = isal_deflate(stream.get());
    if (outcome != COMP_OK || stream->avail_in != 0 || stream->avail_out == 0) {
      return Internal("gzip: deflate failed with {}", outcome);
    }
    return std::string(reinterpret_cast<const char*>(output.get()), room - stream->avail_out);
  }

  std::string Trailer(uint32_t crc, uint64_t bytes) const override {
    std::string trailer("\x03\0", 2);  // an empty last block
    AppendLittleEndian(trailer, crc);
    AppendLittleEndian(trailer, static_cast<uint32_t>(bytes));
    return trailer;
  }

 private:
  static uint8_t* Bytes(std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  }

  int level_;
};

// zstd (RFC 8878): independent frames, with checksums.
class ZstdCodec final : public BlockCodec {
 public:
  // The four classes that BuildKit's levels fall into; where none is asked for, level 2: a third
  // less work than 3 for a twentieth more bytes (docs/performance.md).
  explicit ZstdCodec(int level)
      : level_(level < 0    ? 2
               : level < 3  ? 1
               : level < 6  ? 3
               : level < 10 ? 7
                            : 12) {}

  size_t block_bytes() const override { return 2 << 20; }

  Result<std::string> CompressBlock(std::string_view, std::string_view block) const override {
    std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(), &ZSTD_freeCCtx);
    if (!context) return ResourceExhausted("zstd: out of memory");
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, level_);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
    const size_t room = ZSTD_compressBound(block.size());
    const auto output = std::make_unique_for_overwrite<char[]>(room);
    size_t size = ZSTD_compress2(context.get(), output.get(), room, block.data(), block.size());
    if (ZSTD_isError(size)) return Internal("zstd: {}", ZSTD_getErrorName(size));
    return std::string(output.get(), size);
  }

 private:
  int level_;
};

}  // namespace

std::unique_ptr<BlockCodec> MakeCodec(const CompressionOptions& options) {
  switch (options.type) {
    case Compression::kGzip:
      return std::make_unique<GzipCodec>(options.level);
    case Compression::kZstd:
      return std::make_unique<ZstdCodec>(options.level);
    case Compression::kNone:
      break;
  }
  return nullptr;
}

uint32_t UpdateCrc(uint32_t crc, std::string_view data) {
  return crc32_gzip_refl(crc, reinterpret_cast<const unsigned char*>(data.data()), data.size());
}

}  // namespace kiln::archive
