#include "filesync/request_writer.h"

#include <chrono>

namespace kiln::filesync {
namespace {

constexpr auto kAbortGrace = std::chrono::seconds(1);

}  // namespace

RequestWriter::RequestWriter(PacketStream& stream) : stream_(stream), thread_([this] { Work(); }) {}

RequestWriter::~RequestWriter() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    if (!changed_.wait_for(lock, kAbortGrace, [this] { return !busy_ && queue_.empty(); })) {
      queue_.clear();
      lock.unlock();
      stream_.Cancel();
    }
  }
  thread_.join();
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
  std::unique_lock lock(mutex_);
  queue_.clear();
  queue_.push_back(std::move(packet));
  changed_.notify_all();
  changed_.wait_for(lock, kAbortGrace, [this] { return !busy_ && queue_.empty(); });
  lock.unlock();
  stream_.Cancel();
}

void RequestWriter::Push(Packet packet) {
  std::lock_guard lock(mutex_);
  queue_.push_back(std::move(packet));
  changed_.notify_all();
}

void RequestWriter::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const Packet packet = std::move(queue_.front());
    queue_.pop_front();
    const bool more = !queue_.empty();
    busy_ = true;
    lock.unlock();
    const bool written = stream_.Write(packet, more);
    if (packet.type() == Packet::PACKET_FIN) stream_.CloseWrites();
    lock.lock();
    busy_ = false;
    if (!written) queue_.clear();  // the reading half learns why
    changed_.notify_all();
  }
}

}  // namespace kiln::filesync
