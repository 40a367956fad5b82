#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "store/layer_tree.h"

namespace kiln::store {

using sys::Follow;

// One existing path of a TreeView. Valid while the view (or a copy of it) lives.
struct TreeEntry {
  std::string path;  // absolute and clean, free of links: "/", "/a/b"
  const TreeNode* node =
      nullptr;       // topmost; its `children` are of its own layer only: use TreeView::Children
  size_t layer = 0;  // which layer `node` is from
  // For directories: every layer's part, topmost first, `node` included.
  std::vector<std::pair<size_t, const TreeNode*>> parts;
};

// The union of a chain of layers in user space, without mounting: whiteouts and opaque directories
// are honoured as overlayfs does. All paths are resolved inside it: links and ".." are clamped to
// its root, at most 255 links. A cheap value (copies share); safe from any thread. The snapshot it
// came from must be held while it is used (SnapshotRef::Tree keeps a hold inside).
class TreeView {
 public:
  // The tree of scratch: one empty root directory 0755 root:root that is on no disk.
  TreeView();
  // Bottom layer first. `hold` is kept as long as any copy of the view.
  explicit TreeView(std::vector<std::shared_ptr<const LayerTree>> layers,
                    std::shared_ptr<const void> hold = nullptr);

  size_t layer_count() const;
  const LayerTree& layer(size_t index) const;
  // Trees received from a client hash their root directory's header as sha256("") (llb-ops-cache
  // §9).
  bool received() const { return received_; }
  void set_received(bool received) { received_ = received; }

  Result<TreeEntry> Root() const;
  // NotFound when missing; FailedPrecondition "too many links". Links in parents are always
  // followed.
  Result<TreeEntry> Lookup(std::string_view path, Follow last = Follow::kYes) const;
  // Where `path` leads, missing components kept as they are (the place where it would be created).
  Result<std::string> Resolve(std::string_view path, Follow last = Follow::kYes) const;
  // Sorted bytewise by name; whiteouts do not appear. FailedPrecondition for anything but a
  // directory.
  Result<std::vector<TreeEntry>> Children(const TreeEntry& dir) const;
  // The child of that name, or null node if there is none.
  Result<TreeEntry> Child(const TreeEntry& dir, std::string_view name) const;

  // A regular file, opened to read.
  Result<Fd> Open(const TreeEntry& file) const;
  // `length` 0: to the end. At most `limit` bytes: else FailedPrecondition. Links followed.
  Result<std::string> ReadFile(std::string_view path, uint64_t offset = 0, uint64_t length = 0,
                               uint64_t limit = 64 << 20) const;
  Result<sys::Xattrs> Xattrs(const TreeEntry& entry) const;
  // contenthash of the entry alone.
  Result<Digest> EntryDigest(const TreeEntry& entry) const;

  // Everything at and below `start` in wire order. Return false from the visitor to stay out of a
  // directory.
  using Visitor = std::function<Result<bool>(const TreeEntry&)>;
  Status Walk(const TreeEntry& start, const Visitor& visit) const;

 private:
  struct Shared;
  std::shared_ptr<const Shared> shared_;
  bool received_ = false;
};

// "/a/b" from anything: a leading slash, no "", "." or ".." components (".." clamped), no trailing
// slash but for "/".
std::string CleanAbsolute(std::string_view path);

// Puts the components of `path` (without "" and ".") in front of what a walk has still to pass.
void PushComponents(std::string_view path, std::deque<std::string>* pending);

}  // namespace kiln::store
