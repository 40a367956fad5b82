#include "archive/compression.h"

#include <deque>

#include "archive/codec.h"
#include "base/mutex.h"
#include "base/strings.h"
#include "base/thread_annotations.h"

namespace kiln::archive {

std::string_view CompressionName(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return "uncompressed";
    case Compression::kGzip:
      return "gzip";
    case Compression::kZstd:
      return "zstd";
  }
  return "";
}

Result<Compression> ParseCompression(std::string_view name) {
  for (auto compression : {Compression::kNone, Compression::kGzip, Compression::kZstd}) {
    if (name == CompressionName(compression)) return compression;
  }
  return InvalidArgument("unsupported compression type {}", name);
}

Compression SniffCompression(std::string_view head) {
  if (head.starts_with("\x1f\x8b\x08")) return Compression::kGzip;
  if (head.starts_with("\x28\xb5\x2f\xfd")) return Compression::kZstd;
  // A skippable zstd frame: 0x184D2A5? in little endian.
  if (head.size() >= 4 && (head[0] & 0xf0) == 0x50 && head.substr(1, 3) == "\x2a\x4d\x18") {
    return Compression::kZstd;
  }
  return Compression::kNone;
}

struct LayerPipeline::State {
  struct Block {
    std::string history;
    std::string input;
    std::optional<Result<std::string>> output;  // guarded by State::mutex
  };

  State(CompressionOptions options, ByteSink& sink, WorkerPool& the_pool, size_t threads)
      : codec(MakeCodec(options)), out(&sink), pool(the_pool), max_blocks(2 * threads + 2) {}

  std::unique_ptr<BlockCodec> codec;  // null: nothing is compressed
  HashingSink out;
  WorkerPool& pool;
  const size_t max_blocks;
  Sha256 diff_hash;
  uint32_t crc = 0;
  int64_t input_bytes = 0;
  bool begun = false;
  std::string current;
  std::string history;

  Mutex mutex;
  CondVar done;
  std::deque<std::shared_ptr<Block>> blocks;  // in order; only the writing thread changes the list

  Status Begin() {
    if (std::exchange(begun, true) || !codec) return OkStatus();
    return out.Write(codec->Header());
  }

  void Compress(const std::shared_ptr<Block>& block) {
    auto output = codec->CompressBlock(block->history, block->input);
    MutexLock lock(mutex);
    block->output = std::move(output);
    done.NotifyAll();
  }

  void Submit() {
    auto block = std::make_shared<Block>();
    block->history = history;
    block->input = std::move(current);
    current.clear();
    size_t keep = std::min(codec->history_bytes(), block->input.size());
    history = block->input.substr(block->input.size() - keep);
    blocks.push_back(block);
    pool.Submit([this, block] { Compress(block); });
  }

  // Writes the blocks that are ready, waiting until at most `leave` are under way.
  Status WriteOut(size_t leave) {
    while (!blocks.empty()) {
      Result<std::string> output = std::string();
      {
        MutexLock lock(mutex);
        if (!blocks.front()->output) {
          if (blocks.size() <= leave) return OkStatus();
          while (!blocks.front()->output) done.Wait(lock);
        }
        output = std::move(*blocks.front()->output);
      }
      blocks.pop_front();
      TRY(output.ok() ? out.Write(*output) : Status(output.error()));
    }
    return OkStatus();
  }

  // Every task refers to this object.
  void WaitForTasks() {
    MutexLock lock(mutex);
    for (const auto& block : blocks) {
      while (!block->output) done.Wait(lock);
    }
  }
};

LayerPipeline::LayerPipeline(CompressionOptions options, ByteSink& out, WorkerPool& pool,
                             size_t threads)
    : state_(std::make_unique<State>(options, out, pool, threads)) {}

LayerPipeline::~LayerPipeline() { state_->WaitForTasks(); }

Status LayerPipeline::Write(std::string_view data) {
  State& state = *state_;
  TRY(state.Begin());
  state.input_bytes += static_cast<int64_t>(data.size());
  if (!state.codec) return state.out.Write(data);
  state.diff_hash.Update(data);
  if (state.codec->wants_crc()) state.crc = UpdateCrc(state.crc, data);
  const size_t block_bytes = state.codec->block_bytes();
  while (!data.empty()) {
    if (state.current.empty()) state.current.reserve(block_bytes);
    size_t take = std::min(data.size(), block_bytes - state.current.size());
    state.current.append(data.substr(0, take));
    data.remove_prefix(take);
    if (state.current.size() == block_bytes) {
      state.Submit();
      TRY(state.WriteOut(state.max_blocks - 1));
    }
  }
  return OkStatus();
}

Result<LayerBlob> LayerPipeline::Finish() {
  State& state = *state_;
  TRY(state.Begin());
  if (state.codec) {
    // An empty zstd stream still needs a frame.
    if (!state.current.empty() || (state.input_bytes == 0 && !state.codec->wants_crc()))
      state.Submit();
    TRY(state.WriteOut(0));
    TRY(state.out.Write(state.codec->Trailer(state.crc, static_cast<uint64_t>(state.input_bytes))));
  }
  LayerBlob blob;
  blob.bytes = state.out.bytes();
  blob.digest = state.out.Finish();
  blob.diff_id = state.codec ? state.diff_hash.Finish() : blob.digest;
  blob.uncompressed_bytes = state.input_bytes;
  return blob;
}

}  // namespace kiln::archive
