#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "filesync/packet_stream.h"

namespace kiln::filesync {

// The writing half of a receiver, on a thread of its own: whoever reads the stream must never wait
// for a write.
class RequestWriter {
 public:
  explicit RequestWriter(PacketStream& stream);
  // Cancels the stream if the thread is stuck in a write.
  ~RequestWriter();

  void Request(uint32_t id);
  // Sends FIN and half-closes.
  void Finish();
  // Drops what waits, sends ERR, cancels the stream. Takes at most a second.
  void Abort(const std::string& why);

 private:
  void Push(Packet packet);
  void Work();

  PacketStream& stream_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Packet> queue_;
  bool busy_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace kiln::filesync
