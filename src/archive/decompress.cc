#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "archive/compression.h"

namespace kiln::archive {
namespace {

constexpr size_t kInputBytes = 128 << 10;

// A source with a buffer that can be looked into before it is consumed.
class Input {
 public:
  explicit Input(ByteSource& from) : from_(from), buffer_(kInputBytes, '\0') {}

  // Unread bytes, reading more if there are fewer than `want`; fewer only at the end.
  Result<std::string_view> Peek(size_t want) {
    if (size_ - begin_ < want && !ended_) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, size_ - begin_);
      size_ -= begin_;
      begin_ = 0;
      while (size_ < want && !ended_) {
        TRY_ASSIGN(size_t count, from_.Read(buffer_.data() + size_, buffer_.size() - size_));
        ended_ = count == 0;
        size_ += count;
      }
    }
    return std::string_view(buffer_).substr(begin_, size_ - begin_);
  }
  void Consume(size_t count) { begin_ += count; }

 private:
  ByteSource& from_;
  std::string buffer_;
  size_t begin_ = 0;
  size_t size_ = 0;
  bool ended_ = false;
};

class PlainSource final : public ByteSource {
 public:
  explicit PlainSource(std::unique_ptr<Input> input) : input_(std::move(input)) {}
  Result<size_t> Read(char* buffer, size_t size) override {
    TRY_ASSIGN(auto data, input_->Peek(1));
    size = std::min(size, data.size());
    std::memcpy(buffer, data.data(), size);
    input_->Consume(size);
    return size;
  }

 private:
  std::unique_ptr<Input> input_;
};

class GzipSource final : public ByteSource {
 public:
  GzipSource(std::unique_ptr<Input> input, Behind behind)
      : input_(std::move(input)), behind_(behind), state_(std::make_unique<inflate_state>()) {
    isal_inflate_init(state_.get());
    state_->crc_flag = ISAL_GZIP;
  }

  Result<size_t> Read(char* buffer, size_t size) override {
    size = std::min<size_t>(size, 1 << 30);
    if (damage_) return *damage_;
    while (!finished_) {
      if (state_->block_state == ISAL_BLOCK_FINISH) {
        TRY(NextMember());
        continue;
      }
      TRY_ASSIGN(auto data, input_->Peek(1));
      if (data.empty() && !pending_output_) return DataLoss("gzip: the stream is cut short");
      TRY_ASSIGN(size_t count, Inflate(data, buffer, size));
      if (count > 0) return count;
    }
    return size_t{0};
  }

 private:
  Result<size_t> Inflate(std::string_view data, char* buffer, size_t size) {
    state_->next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(data.data()));
    state_->avail_in = static_cast<uint32_t>(data.size());
    state_->next_out = reinterpret_cast<uint8_t*>(buffer);
    state_->avail_out = static_cast<uint32_t>(size);
    int outcome = isal_inflate(state_.get());
    const size_t count = size - state_->avail_out;
    if (outcome != ISAL_DECOMP_OK && outcome != ISAL_END_INPUT) {
      // First what could be read: whoever reads may know by it what this was to be.
      damage_ = DataLoss("gzip: damaged data ({})",
                         outcome == ISAL_INCORRECT_CHECKSUM ? "wrong checksum" : "bad code");
      if (count > 0) return count;
      return *damage_;
    }
    input_->Consume(data.size() - state_->avail_in);
    pending_output_ = state_->avail_out == 0;
    return count;
  }

  // After a member: another one, zero padding, or the end.
  Status NextMember() {
    for (;;) {
      TRY_ASSIGN(auto data, input_->Peek(2));
      if (data.empty()) {
        finished_ = true;
        return OkStatus();
      }
      if (data.starts_with("\x1f\x8b")) {
        isal_inflate_reset(state_.get());
        state_->crc_flag = ISAL_GZIP;
        pending_output_ = false;
        return OkStatus();
      }
      if (data[0] != '\0' && behind_ == Behind::kIgnored) {
        finished_ = true;
        return OkStatus();
      }
      if (data[0] != '\0') return DataLoss("gzip: data behind the end of the stream");
      input_->Consume(1);
    }
  }

  std::unique_ptr<Input> input_;
  const Behind behind_;
  std::unique_ptr<inflate_state> state_;
  bool pending_output_ = false;  // the output was full: more may come without input
  bool finished_ = false;
  std::optional<Error> damage_;
};

class ZstdSource final : public ByteSource {
 public:
  explicit ZstdSource(std::unique_ptr<Input> input)
      : input_(std::move(input)), stream_(ZSTD_createDCtx(), &ZSTD_freeDCtx) {
    CHECK(stream_ != nullptr);
    // 128 MiB, what zstd itself allows by default: a larger window is refused.
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, 27);
  }

  Result<size_t> Read(char* buffer, size_t size) override {
    ZSTD_outBuffer output{buffer, size, 0};
    if (damage_) return *damage_;
    while (output.pos == 0) {
      TRY_ASSIGN(auto data, input_->Peek(1));
      if (data.empty() && !pending_output_) {
        if (frame_open_) return DataLoss("zstd: the stream is cut short");
        return size_t{0};
      }
      ZSTD_inBuffer input{data.data(), data.size(), 0};
      size_t hint = ZSTD_decompressStream(stream_.get(), &output, &input);
      if (ZSTD_isError(hint)) {
        damage_ = DataLoss("zstd: damaged data ({})", ZSTD_getErrorName(hint));
        if (output.pos == 0) return *damage_;
        break;
      }
      input_->Consume(input.pos);
      frame_open_ = hint != 0;
      pending_output_ = frame_open_ && output.pos == output.size;
    }
    return output.pos;
  }

 private:
  std::unique_ptr<Input> input_;
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> stream_;
  bool frame_open_ = false;
  bool pending_output_ = false;
  std::optional<Error> damage_;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> Decompress(ByteSource& from,
                                               std::optional<Compression> compression,
                                               Behind behind) {
  auto input = std::make_unique<Input>(from);
  if (!compression) {
    TRY_ASSIGN(auto head, input->Peek(4));
    compression = SniffCompression(head);
  }
  switch (*compression) {
    case Compression::kGzip:
      return std::unique_ptr<ByteSource>(std::make_unique<GzipSource>(std::move(input), behind));
    case Compression::kZstd:
      return std::unique_ptr<ByteSource>(std::make_unique<ZstdSource>(std::move(input)));
    case Compression::kNone:
      break;
  }
  return std::unique_ptr<ByteSource>(std::make_unique<PlainSource>(std::move(input)));
}

}  // namespace kiln::archive
