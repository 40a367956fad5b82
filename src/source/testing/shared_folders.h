#pragma once

#include <map>
#include <memory>
#include <string>

#include "filesync/tree_source.h"

namespace kiln::source {

// Folders on disk shared with the engine, as an embedding client does it. Owners are shown as root.
class SharedFolders final : public filesync::TreeSource {
 public:
  explicit SharedFolders(std::map<std::string, std::string> folders)
      : folders_(std::move(folders)) {}
  Result<std::unique_ptr<filesync::PacketStream>> OpenTree(
      const progress::Activity& activity, const filesync::TreeRequest& request) override;
  // The next transfer breaks after so many packets.
  void BreakAfter(int packets) { break_after_ = packets; }

 private:
  const std::map<std::string, std::string> folders_;
  int break_after_ = -1;
};

}  // namespace kiln::source
