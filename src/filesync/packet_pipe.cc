#include <deque>

#include "base/mutex.h"
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
    MutexLock lock(mutex_);
    if (bytes_ > 0 && bytes_ + size > kPipeBytes) {
      readable_.NotifyAll();
      while (!broken_ && !closed_ && bytes_ > 0 && bytes_ + size > kPipeBytes) writable_.Wait(lock);
    }
    if (broken_ || closed_) return false;
    bytes_ += size;
    packets_.push_back(packet);
    if (!more || bytes_ >= kBatchBytes) readable_.NotifyAll();
    return true;
  }

  bool Pop(Packet* packet) {
    MutexLock lock(mutex_);
    while (!broken_ && !closed_ && packets_.empty()) readable_.Wait(lock);
    if (broken_ || packets_.empty()) return false;
    *packet = std::move(packets_.front());
    packets_.pop_front();
    bytes_ -= packet->data().size() + kPacketOverhead;
    if (bytes_ <= kPipeBytes / 2) writable_.NotifyAll();
    return true;
  }

  void Close() {
    MutexLock lock(mutex_);
    closed_ = true;
    readable_.NotifyAll();
    writable_.NotifyAll();
  }

  void Break() {
    MutexLock lock(mutex_);
    broken_ = true;
    readable_.NotifyAll();
    writable_.NotifyAll();
  }

  bool broken() {
    MutexLock lock(mutex_);
    return broken_;
  }

 private:
  Mutex mutex_;
  CondVar readable_;
  CondVar writable_;
  std::deque<Packet> packets_ GUARDED_BY(mutex_);
  size_t bytes_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;
  bool broken_ GUARDED_BY(mutex_) = false;
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
