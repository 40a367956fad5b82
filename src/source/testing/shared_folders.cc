#include "source/testing/shared_folders.h"

#include <fcntl.h>

#include <thread>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "filesync/sender.h"
#include "filesync/tree.h"

namespace kiln::source {
namespace {

class SendingStream final : public filesync::PacketStream {
 public:
  SendingStream(const progress::Activity& activity, std::unique_ptr<filesync::Tree> tree,
                int break_after)
      : tree_(std::move(tree)), left_(break_after) {
    std::tie(near_, far_) = filesync::MakePacketPipe();
    thread_ = std::thread([this, activity] {
      (void)filesync::SendTree(activity, *far_, *tree_);
      far_->CloseWrites();
    });
  }
  ~SendingStream() override {
    near_->Cancel();
    thread_.join();
  }
  bool Read(filesync::Packet* packet) override {
    if (left_ == 0) return false;
    if (left_ > 0) --left_;
    return near_->Read(packet);
  }
  bool Write(const filesync::Packet& packet, bool more) override {
    return near_->Write(packet, more);
  }
  void CloseWrites() override { near_->CloseWrites(); }
  void Cancel() override { near_->Cancel(); }
  Status Finish() override {
    if (left_ == 0) return InvalidArgument("the stream broke");
    return near_->Finish();
  }

 private:
  std::unique_ptr<filesync::Tree> tree_;
  int left_;
  std::unique_ptr<filesync::PacketStream> near_;
  std::unique_ptr<filesync::PacketStream> far_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<filesync::PacketStream>> SharedFolders::OpenTree(
    const progress::Activity& activity, const filesync::TreeRequest& request) {
  const auto folder = folders_.find(request.name);
  if (folder == folders_.end()) return NotFound("no access allowed to dir \"{}\"", request.name);
  TRY_ASSIGN(Fd root, OpenFile(folder->second, O_RDONLY | O_DIRECTORY));
  filesync::FolderOptions options;
  options.include = request.include;
  options.exclude = request.exclude;
  options.follow_paths = request.follow_paths;
  options.reset_owner = reset_owner_;
  TRY_ASSIGN(auto tree, filesync::OpenFolder(std::move(root), std::move(options)));
  return std::unique_ptr<filesync::PacketStream>(
      new SendingStream(activity, std::move(tree), std::exchange(break_after_, -1)));
}

}  // namespace kiln::source
