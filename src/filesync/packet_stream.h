#pragma once

#include <fsutil/types/wire.pb.h>

#include <chrono>
#include <memory>
#include <utility>

#include "base/result.h"

namespace kiln::filesync {

// How often either side says how far it is.
inline constexpr auto kProgressInterval = std::chrono::milliseconds(100);

using fsutil::types::Packet;

// A bidirectional stream of packets. One thread may read while another writes; Cancel comes from
// any thread.
class PacketStream {
 public:
  virtual ~PacketStream() = default;

  // Blocks. False at the end of the stream, after which Finish says why.
  virtual bool Read(Packet* packet) = 0;
  // Blocks while the peer does not take more. `more` hints that another packet follows at once, so
  // that this one may wait for it. False when the stream is broken.
  virtual bool Write(const Packet& packet, bool more) = 0;
  // Half-closes.
  virtual void CloseWrites() = 0;
  // Makes reads and writes fail soon.
  virtual void Cancel() = 0;
  // How the stream ended. Call once, after Read returned false or Cancel. Calling streams only: a
  // served one says OK.
  virtual Status Finish() = 0;
};

// Two ends of a stream within the process, each buffering a bounded number of bytes. Both ends
// share state; either may be destroyed first.
std::pair<std::unique_ptr<PacketStream>, std::unique_ptr<PacketStream>> MakePacketPipe();

}  // namespace kiln::filesync
