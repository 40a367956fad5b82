#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "filesync/packet_stream.h"
#include "filesync/tree.h"
#include "progress/activity.h"

namespace kiln::filesync {

struct SendOptions {
  // Content per DATA packet, at most 1 MiB.
  size_t chunk_bytes = 32 << 10;
  // Total bytes of packets sent so far; at most ten times a second, and once at the end.
  std::function<void(int64_t bytes)> on_progress;
  // When the folder began to be listed, by the clock of its files' times; 0: not said.
  int64_t listed_at_ns = 0;
};

struct SendReport {
  uint64_t entries = 0;
  uint64_t files_sent = 0;
  int64_t bytes_sent = 0;
};

// Lists `tree` to the receiver on `stream`, serves the files it asks for, and returns when the
// receiver is content (its FIN was answered). Does not half-close or finish the stream. Reads
// requests on a thread of its own.
Result<SendReport> SendTree(const progress::Activity& activity, PacketStream& stream, Tree& tree,
                            const SendOptions& options = {});

}  // namespace kiln::filesync
