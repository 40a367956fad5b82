#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/result.h"
#include "filesync/packet_stream.h"

namespace kiln::filesync {

// The writing half of a receiver, on a thread of its own: whoever reads the stream must never wait
// for a write.
class RequestWriter {
 public:
  explicit RequestWriter(PacketStream& stream);
  // Why there is no thread, if there is none: nothing is written then.
  const Status& started() const { return started_; }
  // Cancels the stream if the thread is stuck in a write.
  ~RequestWriter();

  void Request(uint32_t id);
  // Sends FIN and half-closes.
  void Finish();
  // Drops what waits, sends ERR, cancels the stream. Takes at most a second.
  void Abort(const std::string& why);

 private:
  void Push(Packet packet) EXCLUDES(mutex_);
  void Work() EXCLUDES(mutex_);
  // For a second at most; false: something is still being written, or waits.
  bool AwaitIdleLocked(MutexLock& lock) REQUIRES(mutex_);

  PacketStream& stream_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Packet> queue_ GUARDED_BY(mutex_);
  bool busy_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  Status started_;
  std::thread thread_;
};

}  // namespace kiln::filesync
