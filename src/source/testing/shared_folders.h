#pragma once

#include <map>
#include <memory>
#include <string>

#include "filesync/tree_source.h"

namespace kiln::source {

// Folders on disk shared with the engine, as an embedding client does it. Owners are shown as root
// unless said otherwise.
class SharedFolders final : public filesync::TreeSource {
 public:
  explicit SharedFolders(std::map<std::string, std::string> folders)
      : folders_(std::move(folders)) {}
  Result<std::unique_ptr<filesync::PacketStream>> OpenTree(
      const progress::Activity& activity, const filesync::TreeRequest& request) override;
  // As a client shows them that does not hide who owns its files.
  void ShowOwners() { reset_owner_ = false; }
  // The next transfer breaks after so many packets.
  void BreakAfter(int packets) { break_after_ = packets; }

 private:
  const std::map<std::string, std::string> folders_;
  bool reset_owner_ = true;
  int break_after_ = -1;
};

}  // namespace kiln::source
