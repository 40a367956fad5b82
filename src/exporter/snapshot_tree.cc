#include "exporter/snapshot_tree.h"

#include <sys/sysmacros.h>

#include <map>

namespace kiln::exporter {
namespace {

class SnapshotTree final : public filesync::Tree {
 public:
  SnapshotTree(store::TreeView view, std::optional<int64_t> mtime_ns, std::string root)
      : view_(std::move(view)),
        mtime_ns_(mtime_ns),
        root_(std::move(root)),
        prefix_(root_ == "/" ? root_ : root_ + "/") {}

  Status Walk(const progress::Activity& activity, const Visitor& visit) override {
    TRY_ASSIGN(auto root, view_.Lookup(root_, store::Follow::kNo));
    return view_.Walk(root, [&](const store::TreeEntry& found) -> Result<bool> {
      if (found.path == root_) return true;
      TRY(activity.Check());
      TRY_ASSIGN(auto entry, EntryOf(view_, found));
      entry.path = found.path.substr(prefix_.size());
      if (mtime_ns_) entry.mtime_ns = *mtime_ns_;
      if (entry.IsRegular() && found.node->nlink > 1) {
        auto [first, fresh] = links_.emplace(std::pair{found.layer, found.node->ino}, entry.path);
        if (!fresh) entry.linkname = first->second;
      }
      TRY(visit(entry));
      return true;
    });
  }

  Result<filesync::Content> Open(const filesync::Entry& entry) override {
    TRY_ASSIGN(auto found, view_.Lookup(prefix_ + entry.path, store::Follow::kNo));
    TRY_ASSIGN(auto fd, view_.Open(found));
    return filesync::Content{std::move(fd), {}};
  }

 private:
  const store::TreeView view_;
  const std::optional<int64_t> mtime_ns_;
  const std::string root_;
  const std::string prefix_;
  std::map<std::pair<size_t, uint64_t>, std::string> links_;  // (layer, inode) → first path
};

}  // namespace

Result<filesync::Entry> EntryOf(const store::TreeView& view, const store::TreeEntry& found) {
  const store::TreeNode& node = *found.node;
  filesync::Entry entry;
  entry.path = found.path.substr(1);
  entry.mode = node.mode;
  entry.uid = node.uid;
  entry.gid = node.gid;
  entry.mtime_ns = node.mtime_ns;
  if (node.IsRegular()) entry.size = static_cast<int64_t>(node.size);
  if (node.IsSymlink()) {
    entry.linkname = node.link_target;
    entry.size = static_cast<int64_t>(node.link_target.size());
  }
  if (entry.IsDevice()) {
    entry.devmajor = major(node.rdev);
    entry.devminor = minor(node.rdev);
  }
  TRY_ASSIGN(auto xattrs, view.Xattrs(found));
  entry.xattrs.assign(xattrs.begin(), xattrs.end());
  return entry;
}

std::unique_ptr<filesync::Tree> MakeSnapshotTree(store::TreeView view,
                                                 std::optional<int64_t> mtime_ns,
                                                 std::string root) {
  return std::make_unique<SnapshotTree>(std::move(view), mtime_ns, std::move(root));
}

}  // namespace kiln::exporter
