#include "store/whole_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ids.h"
#include "store/copy.h"
#include "store/difference.h"

namespace kiln::store {
namespace {

// Change times have the kernel's tick: what is changed after this has another one than what was
// changed before.
Status AwaitTick(const std::string& directory) {
  const std::string probe = directory + "." + NewId();
  std::optional<WallTime> first;
  while (true) {
    {
      TRY_ASSIGN(const Fd fd, OpenFile(probe, O_WRONLY | O_CREAT | O_EXCL, 0600));
      TRY_ASSIGN(const sys::FileInfo info, sys::StatFd(fd.get()));
      (void)unlink(probe.c_str());
      if (first && info.ctime > *first) return OkStatus();
      if (!first) first = info.ctime;
    }
    (void)usleep(500);
  }
}

}  // namespace

Result<std::unique_ptr<WholeTree>> WholeTree::Make(const progress::Activity& activity,
                                                   const TreeView& view, std::string directory,
                                                   const sys::Privileges& privileges) {
  if (mkdir(directory.c_str(), 0755) != 0) return ErrnoError(errno, "create {}", directory);
  std::unique_ptr<WholeTree> made(new WholeTree(std::move(directory), privileges));
  TRY_ASSIGN(LayerWriter writer, made->Writer());
  CopyOptions copy;
  copy.keep_existing_root = false;
  TRY_ASSIGN(const TreeEntry root, view.Root());
  TRY_CTX(CopyTree(activity, view, root, writer, "/", copy), "copying a snapshot");
  TRY(made->Remember());
  TRY(AwaitTick(made->directory_));
  return made;
}

Status WholeTree::Remember() {
  TRY_ASSIGN(const sys::RootedPath root, sys::RootedPath::Open(directory_));
  return sys::Walk(root, "", [&](const sys::WalkEntry& entry) -> Result<sys::WalkNext> {
    made_["/" + entry.path] = {entry.info.ino, entry.info.ctime};
    return sys::WalkNext::kContinue;
  });
}

Result<LayerWriter> WholeTree::Writer() const {
  TRY_ASSIGN(sys::RootedPath root, sys::RootedPath::Open(directory_));
  return LayerWriter(TreeView(), std::move(root), {privileges_, nullptr});
}

Result<TreeView> WholeTree::Tree() const {
  TRY_ASSIGN(sys::RootedPath root, sys::RootedPath::Open(directory_));
  return TreeView({std::make_shared<LayerTree>(std::move(root))}, nullptr);
}

Status WholeTree::WriteChanges(const progress::Activity& activity, const TreeView& lower,
                               LayerWriter& delta) const {
  TRY_ASSIGN(const TreeView now, Tree());
  TRY_ASSIGN(const sys::RootedPath root, sys::RootedPath::Open(directory_));
  Fd parent;  // of the entry asked about last: they come directory by directory
  std::string parent_path;
  DifferenceRules rules;
  rules.exact = true;
  rules.is_untouched = [&](const TreeEntry& entry) {
    const auto made = made_.find(entry.path);
    if (made == made_.end() || made->second.inode != entry.node->ino) return false;
    const size_t slash = entry.path.rfind('/');
    const std::string dir = entry.path.substr(0, slash);
    if (!parent.valid() || dir != parent_path) {
      auto opened = root.OpenDir(dir.empty() ? "/" : dir);
      if (!opened.ok()) return false;
      parent = std::move(*opened);
      parent_path = dir;
    }
    auto info = sys::StatAt(parent.get(), entry.path.substr(slash + 1));
    return info.ok() && info->ctime == made->second.changed;
  };
  return WriteDifference(activity, lower, now, delta, rules);
}

}  // namespace kiln::store
