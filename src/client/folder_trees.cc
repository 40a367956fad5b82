#include "client/folder_trees.h"

#include <fcntl.h>

#include <thread>

#include "base/clock.h"
#include "base/thread.h"
#include "base/time.h"
#include "filesync/sender.h"
#include "filesync/tree.h"

namespace kiln::client {
namespace {

int64_t Now() { return UnixNanos(SystemClock().Now()); }

// A pipe whose other end is being sent to by a thread of this object.
class SendingStream final : public filesync::PacketStream {
 public:
  explicit SendingStream(std::unique_ptr<filesync::Tree> tree) : tree_(std::move(tree)) {
    std::tie(near_, far_) = filesync::MakePacketPipe();
  }

  Status Start(const progress::Activity& activity) {
    TRY_ASSIGN(thread_, StartThread("kiln-send", [this, activity] {
                 const auto sent = filesync::SendTree(
                     activity, *far_, *tree_, {.chunk_bytes = 1 << 20, .listed_at_ns = Now()});
                 if (!sent.ok()) status_ = sent.error();
                 far_->CloseWrites();
               }));
    return OkStatus();
  }
  ~SendingStream() override {
    near_->Cancel();
    if (thread_.joinable()) thread_.join();
  }

  bool Read(filesync::Packet* packet) override { return near_->Read(packet); }
  bool Write(const filesync::Packet& packet, bool more) override {
    return near_->Write(packet, more);
  }
  void CloseWrites() override { near_->CloseWrites(); }
  void Cancel() override { near_->Cancel(); }
  Status Finish() override {
    TRY(near_->Finish());
    thread_.join();
    return status_;
  }

 private:
  std::unique_ptr<filesync::Tree> tree_;
  std::unique_ptr<filesync::PacketStream> near_;
  std::unique_ptr<filesync::PacketStream> far_;
  Status status_;
  std::thread thread_;
};

Result<std::unique_ptr<filesync::Tree>> OpenShared(
    const std::map<std::string, std::string>& folders, const filesync::TreeRequest& request) {
  const auto folder = folders.find(request.name);
  if (folder == folders.end()) return NotFound("no access allowed to dir \"{}\"", request.name);
  TRY_ASSIGN(Fd root, OpenFile(folder->second, O_RDONLY | O_DIRECTORY));
  filesync::FolderOptions options;
  options.include = request.include;
  options.exclude = request.exclude;
  options.follow_paths = request.follow_paths;
  options.reset_owner = true;
  options.tell_changes = true;
  return filesync::OpenFolder(std::move(root), std::move(options));
}

}  // namespace

Result<std::unique_ptr<filesync::PacketStream>> FolderTrees::OpenTree(
    const progress::Activity& activity, const filesync::TreeRequest& request) {
  TRY_ASSIGN(auto tree, OpenShared(folders_, request));
  auto stream = std::make_unique<SendingStream>(std::move(tree));
  TRY(stream->Start(activity));
  return std::unique_ptr<filesync::PacketStream>(std::move(stream));
}

Status FolderTrees::Serve(const progress::Activity& activity, const filesync::TreeRequest& request,
                          filesync::PacketStream& stream) {
  TRY_ASSIGN(const auto tree, OpenShared(folders_, request));
  const auto sent = filesync::SendTree(activity, stream, *tree, {.listed_at_ns = Now()});
  if (!sent.ok()) return sent.error();
  return OkStatus();
}

}  // namespace kiln::client
