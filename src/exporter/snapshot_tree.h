#pragma once

#include <memory>
#include <optional>
#include <string>

#include "filesync/tree.h"
#include "store/tree.h"

namespace kiln::exporter {

// A snapshot's union view as a tree that can be sent to a client. `mtime_ns` set: every entry has
// that time. Hard links within the tree are listed as links to the first path of their inode. Only
// what lies below the directory `root`, which is absolute and clean.
std::unique_ptr<filesync::Tree> MakeSnapshotTree(store::TreeView view,
                                                 std::optional<int64_t> mtime_ns,
                                                 std::string root = "/");

// The entry of one path, without hard-link information.
Result<filesync::Entry> EntryOf(const store::TreeView& view, const store::TreeEntry& entry);

}  // namespace kiln::exporter
