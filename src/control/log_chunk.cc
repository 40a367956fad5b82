#include "control/log_chunk.h"

#include <moby/buildkit/v1/control.pb.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "api/timestamp.h"

namespace kiln::control {
namespace {

// Displays show when a line was written: joined pieces are a moment apart at most.
constexpr std::chrono::milliseconds kMoment{100};
constexpr size_t kMaxBytes = 32 << 10;

uint32_t StreamOf(progress::Stream stream) { return stream == progress::Stream::kStderr ? 1 : 0; }

}  // namespace

LogChunk::LogChunk(uint64_t seq, const progress::VertexLog& log, uint32_t run_of, For for_whom)
    : first(seq),
      last(seq),
      vertex(log.vertex),
      run(run_of),
      who(for_whom),
      from(log.timestamp),
      data(log.data),
      streams{static_cast<uint32_t>(log.data.size()) * 2 + StreamOf(log.stream)} {}

bool LogChunk::Takes(const LogChunk& later) const {
  return vertex == later.vertex && run == later.run && later.from - from < kMoment &&
         data.size() + later.data.size() <= kMaxBytes;
}

void LogChunk::Join(const LogChunk& later) {
  last = later.last;
  data += later.data;
  for (const uint32_t piece : later.streams) {
    if ((streams.back() & 1) == (piece & 1)) {
      streams.back() += piece & ~1U;
    } else {
      streams.push_back(piece);
    }
  }
}

size_t AddChunk(const LogChunk& chunk, moby::buildkit::v1::StatusResponse* batch) {
  size_t bytes = 0;
  size_t at = 0;
  for (const uint32_t piece : chunk.streams) {
    auto* out = batch->add_logs();
    out->set_vertex(chunk.vertex.ToString());
    api::ToProto(chunk.from, out->mutable_timestamp());
    out->set_stream(static_cast<int64_t>((piece & 1) != 0 ? progress::Stream::kStderr
                                                          : progress::Stream::kStdout));
    out->set_msg(chunk.data.substr(at, piece / 2));
    at += piece / 2;
    bytes += out->ByteSizeLong();
  }
  return bytes;
}

void ShownLog::Add(LogChunk chunk) {
  chunks_.push_back(std::move(chunk));
  ++added_;
}

size_t ShownLog::After(uint64_t seq) const {
  const auto found =
      std::upper_bound(chunks_.begin(), chunks_.end(), seq,
                       [](uint64_t value, const LogChunk& chunk) { return value < chunk.last; });
  return static_cast<size_t>(found - chunks_.begin());
}

void ShownLog::Join(uint64_t limit, const std::vector<uint64_t>& cursors) {
  added_ = 0;
  const size_t begin = joined_;
  std::unordered_map<Digest, size_t> open;
  size_t at = begin;
  for (; at < chunks_.size() && chunks_[at].last <= limit; ++at) {
    LogChunk& later = chunks_[at];
    const auto [known, added] = open.try_emplace(later.vertex, at);
    if (added) continue;
    LogChunk& earlier = chunks_[std::exchange(known->second, at)];
    const bool apart = std::any_of(cursors.begin(), cursors.end(), [&](uint64_t cursor) {
      return earlier.first <= cursor && cursor < later.last;
    });
    if (apart || !earlier.Takes(later)) continue;
    // The place of the later one is kept: nothing overtakes what was numbered before it.
    earlier.Join(later);
    std::swap(earlier, later);
    earlier.streams.clear();
  }
  const auto range = chunks_.begin() + static_cast<std::ptrdiff_t>(begin);
  const auto end = chunks_.begin() + static_cast<std::ptrdiff_t>(at);
  const auto left =
      std::remove_if(range, end, [](const LogChunk& chunk) { return chunk.streams.empty(); });
  joined_ = static_cast<size_t>(left - chunks_.begin());
  chunks_.erase(left, end);
}

}  // namespace kiln::control
