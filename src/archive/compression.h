#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "archive/stream.h"
#include "base/pool.h"

namespace kiln::archive {

enum class Compression { kNone, kGzip, kZstd };

// "uncompressed", "gzip", "zstd" (BuildKit's exporter attribute `compression`).
std::string_view CompressionName(Compression compression);
// InvalidArgument "unsupported compression type x" for others.
Result<Compression> ParseCompression(std::string_view name);
// By the first bytes; kNone if nothing is recognised.
Compression SniffCompression(std::string_view head);

// Decompresses `from`, which must outlive the result. `compression` nullopt: by magic bytes.
// Several gzip members or zstd frames in a row are one stream. Damaged or cut input: DataLoss,
// after what could be read. Something else behind a gzip stream: DataLoss, or with kIgnored its
// end.
enum class Behind { kRefused, kIgnored };
Result<std::unique_ptr<ByteSource>> Decompress(ByteSource& from,
                                               std::optional<Compression> compression = {},
                                               Behind behind = Behind::kRefused);

// How hard to compress: -1 is the codec's default. gzip 0-9, zstd 0-22; both are mapped to few
// classes.
struct CompressionOptions {
  Compression type = Compression::kGzip;
  int level = -1;
};

struct LayerBlob {
  Digest diff_id;  // of the uncompressed bytes
  Digest digest;   // of what was written
  int64_t uncompressed_bytes = 0;
  int64_t bytes = 0;
};

// One pass from tar to blob: hashes what is written to it, compresses it in blocks of 1 MiB on
// `pool`, writes the blocks in order to `out` and hashes those too. The bytes depend only on the
// input and the options, never on timing or the number of threads. At most 2 × threads + 2 blocks
// are in memory. Write and Finish are called from one thread, which also writes to `out`.
class LayerPipeline final : public ByteSink {
 public:
  // `pool` must have threads to spare for `threads` tasks that never block, and outlive this; so
  // must `out`.
  LayerPipeline(CompressionOptions options, ByteSink& out, WorkerPool& pool, size_t threads);
  ~LayerPipeline() override;
  LayerPipeline(const LayerPipeline&) = delete;
  LayerPipeline& operator=(const LayerPipeline&) = delete;

  Status Write(std::string_view data) override;
  // Once, after the last Write.
  Result<LayerBlob> Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::archive
