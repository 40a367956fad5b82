#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "progress/progress.h"

namespace moby::buildkit::v1 {
class StatusResponse;
}

namespace kiln::control {

// What one step wrote within a moment: pieces joined, so that a step that writes a byte at a time
// costs little more than its bytes. Pieces are numbered, as all events of a build are.
struct LogChunk {
  enum class For : uint8_t { kAll, kOthers };  // kOthers: not for the keeper

  LogChunk(uint64_t seq, const progress::VertexLog& log, uint32_t run, For who);

  // Whether `later` may be joined: the same run of the same step, soon after, and not too much.
  bool Takes(const LogChunk& later) const;
  void Join(const LogChunk& later);
  size_t bytes() const { return data.size(); }

  uint64_t first = 0;
  uint64_t last = 0;
  Digest vertex;
  uint32_t run = 0;  // of the vertex; its output never passes its start or its end
  For who = For::kAll;
  WallTime from;
  std::string data;
  // `data` in pieces by stream: twice the length, and one more for standard error.
  std::vector<uint32_t> streams;
};

// Appends to a batch; returns the bytes added.
size_t AddChunk(const LogChunk& chunk, moby::buildkit::v1::StatusResponse* batch);

// What is shown of a build's output, in order, for readers that begin at any time.
class ShownLog {
 public:
  void Add(LogChunk chunk);
  // The first chunk behind `seq`; end() if there is none.
  size_t After(uint64_t seq) const;
  size_t size() const { return chunks_.size(); }
  const LogChunk& operator[](size_t index) const { return chunks_[index]; }

  // Time to Join: enough has come since the last time.
  bool due() const { return added_ >= kJoinAfter; }
  // Joins pieces up to number `limit`. What lies on both sides of a cursor stays apart: a cursor is
  // the last number that a reader has.
  void Join(uint64_t limit, const std::vector<uint64_t>& cursors);

 private:
  static constexpr size_t kJoinAfter = 1024;

  std::deque<LogChunk> chunks_;  // by `last`
  size_t joined_ = 0;            // these have been looked at
  size_t added_ = 0;
};

}  // namespace kiln::control
