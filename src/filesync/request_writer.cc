#include "filesync/request_writer.h"

#include <chrono>

#include "base/thread.h"

namespace kiln::filesync {
namespace {

constexpr auto kAbortGrace = std::chrono::seconds(1);

}  // namespace

RequestWriter::RequestWriter(PacketStream& stream) : stream_(stream) {
  auto thread = StartThread("kiln-request", [this] { Work(); });
  if (thread.ok()) {
    thread_ = *std::move(thread);
  } else {
    started_ = std::move(thread).error();
  }
}

RequestWriter::~RequestWriter() {
  if (!thread_.joinable()) return;
  bool stuck = false;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
    stuck = !AwaitIdleLocked(lock);
    if (stuck) queue_.clear();
  }
  if (stuck) stream_.Cancel();
  thread_.join();
}

bool RequestWriter::AwaitIdleLocked(MutexLock& lock) {
  const auto until = std::chrono::steady_clock::now() + kAbortGrace;
  while (busy_ || !queue_.empty()) {
    if (!changed_.WaitUntil(lock, until)) return !busy_ && queue_.empty();
  }
  return true;
}

void RequestWriter::Request(uint32_t id) {
  Packet packet;
  packet.set_type(Packet::PACKET_REQ);
  packet.set_id(id);
  Push(std::move(packet));
}

void RequestWriter::Finish() {
  Packet packet;
  packet.set_type(Packet::PACKET_FIN);
  Push(std::move(packet));
}

void RequestWriter::Abort(const std::string& why) {
  Packet packet;
  packet.set_type(Packet::PACKET_ERR);
  packet.set_data(why);
  if (thread_.joinable()) {
    MutexLock lock(mutex_);
    queue_.clear();
    queue_.push_back(std::move(packet));
    changed_.NotifyAll();
    AwaitIdleLocked(lock);
  }
  stream_.Cancel();
}

void RequestWriter::Push(Packet packet) {
  MutexLock lock(mutex_);
  queue_.push_back(std::move(packet));
  changed_.NotifyAll();
}

void RequestWriter::Work() {
  MutexLock lock(mutex_);
  while (true) {
    while (!stopping_ && queue_.empty()) changed_.Wait(lock);
    if (queue_.empty()) return;
    const Packet packet = std::move(queue_.front());
    queue_.pop_front();
    const bool more = !queue_.empty();
    busy_ = true;
    lock.Unlock();
    const bool written = stream_.Write(packet, more);
    if (packet.type() == Packet::PACKET_FIN) stream_.CloseWrites();
    lock.Lock();
    busy_ = false;
    if (!written) queue_.clear();  // the reading half learns why
    changed_.NotifyAll();
  }
}

}  // namespace kiln::filesync
