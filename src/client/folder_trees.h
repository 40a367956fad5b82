#pragma once

#include <map>
#include <string>

#include "filesync/tree_source.h"

namespace kiln::client {

// The folders that a client shares, by name. Owners are shown as root, as all clients of BuildKit
// do.
class FolderTrees final : public filesync::TreeSource {
 public:
  explicit FolderTrees(std::map<std::string, std::string> folders) : folders_(std::move(folders)) {}

  // NotFound `no access allowed to dir "NAME"`. A thread sends until the stream is destroyed.
  Result<std::unique_ptr<filesync::PacketStream>> OpenTree(
      const progress::Activity& activity, const filesync::TreeRequest& request) override;
  // Sends a folder on a stream that somebody else reads; blocks.
  Status Serve(const progress::Activity& activity, const filesync::TreeRequest& request,
               filesync::PacketStream& stream);

 private:
  const std::map<std::string, std::string> folders_;
};

}  // namespace kiln::client
