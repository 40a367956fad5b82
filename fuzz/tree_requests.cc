// What the receiver of a folder may ask its sender for, in any order.
// Input: packets, each behind its length as a varint.
#include <condition_variable>
#include <mutex>

#include "filesync/sender.h"
#include "packets.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose
using namespace kiln::filesync;

// Speaks once the listing is out: what is asked for earlier depends on time.
class InputStream final : public PacketInput {
 public:
  using PacketInput::PacketInput;
  bool Read(Packet* packet) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return listed_ || cancelled_; });
    return !cancelled_ && Next(packet);
  }
  bool Write(const Packet& packet, bool) override {
    std::lock_guard lock(mutex_);
    listed_ = listed_ || (packet.type() == Packet::PACKET_STAT && !packet.has_stat());
    changed_.notify_all();
    return !cancelled_;
  }
  void Cancel() override {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool listed_ = false;
  bool cancelled_ = false;
};

VirtualFile File(const char* path, mode_t mode, std::string data) {
  VirtualFile file;
  file.entry.path = path;
  file.entry.mode = mode;
  file.entry.size = static_cast<int64_t>(data.size());
  file.data = std::move(data);
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto tree =
      AddFiles(nullptr, {File("a", S_IFREG | 0644, "text"), File("d", S_IFDIR | 0755, ""),
                         File("d/b", S_IFREG | 0644, std::string(10'000, 'b'))});
  InputStream stream(PacketsOf(data, size));
  SendOptions options;
  options.on_progress = [](int64_t) {};
  (void)SendTree(progress::Activity(), stream, *tree, options);
  return 0;
}
