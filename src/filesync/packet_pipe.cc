#include <condition_variable>
#include <deque>
#include <mutex>

#include "filesync/packet_stream.h"

namespace kiln::filesync {
namespace {

constexpr size_t kPipeBytes = 1 << 20;
constexpr size_t kPacketOverhead = 128;
// A reader is woken for so much at once while its peer says that more follows: a wake-up per packet
// costs more than the packet.
constexpr size_t kBatchBytes = 16 << 10;

// One direction.
class Channel {
 public:
  bool Push(const Packet& packet, bool more) {
    const size_t size = packet.data().size() + kPacketOverhead;
    std::unique_lock lock(mutex_);
    if (bytes_ > 0 && bytes_ + size > kPipeBytes) {
      readable_.notify_all();
      writable_.wait(
          lock, [&] { return broken_ || closed_ || bytes_ == 0 || bytes_ + size <= kPipeBytes; });
    }
    if (broken_ || closed_) return false;
    bytes_ += size;
    packets_.push_back(packet);
    if (!more || bytes_ >= kBatchBytes) readable_.notify_all();
    return true;
  }

  bool Pop(Packet* packet) {
    std::unique_lock lock(mutex_);
    readable_.wait(lock, [&] { return broken_ || closed_ || !packets_.empty(); });
    if (broken_ || packets_.empty()) return false;
    *packet = std::move(packets_.front());
    packets_.pop_front();
    bytes_ -= packet->data().size() + kPacketOverhead;
    if (bytes_ <= kPipeBytes / 2) writable_.notify_all();
    return true;
  }

  void Close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    readable_.notify_all();
    writable_.notify_all();
  }

  void Break() {
    std::lock_guard lock(mutex_);
    broken_ = true;
    readable_.notify_all();
    writable_.notify_all();
  }

  bool broken() {
    std::lock_guard lock(mutex_);
    return broken_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable readable_;
  std::condition_variable writable_;
  std::deque<Packet> packets_;
  size_t bytes_ = 0;
  bool closed_ = false;
  bool broken_ = false;
};

class PipeEnd final : public PacketStream {
 public:
  PipeEnd(std::shared_ptr<Channel> in, std::shared_ptr<Channel> out)
      : in_(std::move(in)), out_(std::move(out)) {}
  ~PipeEnd() override {
    out_->Close();
    in_->Close();
  }

  bool Read(Packet* packet) override { return in_->Pop(packet); }
  bool Write(const Packet& packet, bool more) override { return out_->Push(packet, more); }
  void CloseWrites() override { out_->Close(); }
  void Cancel() override {
    in_->Break();
    out_->Break();
  }
  Status Finish() override {
    if (in_->broken() || out_->broken()) return Cancelled("context canceled");
    return OkStatus();
  }

 private:
  std::shared_ptr<Channel> in_;
  std::shared_ptr<Channel> out_;
};

}  // namespace

std::pair<std::unique_ptr<PacketStream>, std::unique_ptr<PacketStream>> MakePacketPipe() {
  auto there = std::make_shared<Channel>();
  auto back = std::make_shared<Channel>();
  return {std::make_unique<PipeEnd>(back, there), std::make_unique<PipeEnd>(there, back)};
}

}  // namespace kiln::filesync
