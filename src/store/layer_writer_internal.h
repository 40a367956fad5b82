#pragma once

#include <optional>

#include "store/layer_writer.h"

namespace kiln::store {

// What both sides of the union say about one name.
struct LayerWriter::Look {
  std::optional<sys::FileInfo> upper;  // unless it is a whiteout
  bool whiteout = false;
  std::optional<TreeEntry> lower;  // shown by the layers below, hidden by a whiteout or not

  bool visible() const { return upper || (lower && !whiteout); }
  bool in_delta() const { return upper || whiteout; }
  bool IsVisibleDirectory() const {
    return upper ? upper->IsDirectory() : lower && !whiteout && lower->node->IsDirectory();
  }
};

NodeMeta MetaOf(const sys::FileInfo& info, sys::Xattrs xattrs);
// Owner, xattrs, mode, times, in the order in which none undoes another.
Status ApplyMetaFd(int fd, const NodeMeta& meta, const sys::Privileges& privileges);
Status ApplyMetaAt(int dir, const std::string& name, const NodeMeta& meta, bool is_symlink,
                   const sys::Privileges& privileges);

}  // namespace kiln::store
