#pragma once

#include <fsutil/types/wire.pb.h>
#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "filesync/packet_stream.h"
#include "quiet_protobuf.h"

namespace kiln {

// At most 100 packets, each behind its length as a varint.
inline std::vector<filesync::Packet> PacketsOf(const uint8_t* data, size_t size) {
  google::protobuf::io::CodedInputStream input(data, static_cast<int>(size));
  std::vector<filesync::Packet> packets;
  uint32_t length = 0;
  while (packets.size() < 100 && input.ReadVarint32(&length)) {
    const size_t left = size - static_cast<size_t>(input.CurrentPosition());
    std::string bytes;
    if (!input.ReadString(&bytes, static_cast<int>(std::min<size_t>(length, left)))) break;
    filesync::Packet packet;
    if (packet.ParseFromString(bytes)) packets.push_back(std::move(packet));
  }
  return packets;
}

// A peer that says what the input says; when, and what it makes of answers, is the target's.
class PacketInput : public filesync::PacketStream {
 public:
  explicit PacketInput(std::vector<filesync::Packet> packets) : packets_(std::move(packets)) {}
  void CloseWrites() override {}
  void Cancel() override {}
  Status Finish() override { return OkStatus(); }

 protected:
  bool Next(filesync::Packet* packet) {
    if (next_ == packets_.size()) return false;
    *packet = packets_[next_++];
    return true;
  }

 private:
  const std::vector<filesync::Packet> packets_;
  size_t next_ = 0;
};

}  // namespace kiln
