#include "store/delta.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "store/tree_paths.h"

namespace kiln::store {
namespace {

class Normalizer {
 public:
  Normalizer(sys::RootedPath root, const TreeView& lower, std::string attribute)
      : root_(std::move(root)), lower_(lower), attribute_(std::move(attribute)) {}

  // `below` is what the layers below show at this directory. Each directory is read before it is
  // changed.
  Status Visit(const LayerTree& tree, const TreeNode& dir, const std::string& path,
               const TreeEntry& below, bool opaque) {
    TRY_ASSIGN(const std::vector<TreeNode>* children, tree.Children(dir, path));
    if (opaque) {
      TRY(Expand(dir, path, below));
    }
    for (const TreeNode& child : *children) {
      if (!child.IsDirectory()) continue;
      const std::string child_path = PathInLayer(path, child.name);
      TRY_ASSIGN(const TreeEntry under, lower_.Child(below, child.name));
      if (under.node != nullptr && under.node->IsDirectory()) {
        TRY(Visit(tree, child, child_path, under, child.opaque || opaque));
        continue;
      }
      if (child.opaque) {
        TRY(root_.RemoveXattr(child_path, attribute_));
      }
      TRY(Strip(child_path));
    }
    return OkStatus();
  }

 private:
  // Where the layers below show nothing there is nothing to hide. Directories may lie deeper than
  // paths go.
  Status Strip(const std::string& path) {
    return sys::Walk(root_, path,
                     [&](const sys::WalkEntry& entry) -> Result<sys::WalkNext> {
                       if (entry.path.empty()) return sys::WalkNext::kContinue;
                       const auto value = sys::GetXattrAt(entry.dir, entry.name, attribute_);
                       if (value.ok() && *value == "y") {
                         TRY(sys::RemoveXattrAt(entry.dir, entry.name, attribute_));
                       }
                       return sys::WalkNext::kContinue;
                     },
                     {.directories_only = true, .max_depth = sys::kAnyDepth});
  }

  Status Expand(const TreeNode& dir, const std::string& path, const TreeEntry& below) {
    TRY_ASSIGN(const Fd fd, root_.OpenDir(path));
    TRY_ASSIGN(const std::vector<TreeEntry> hidden, lower_.Children(below));
    for (const TreeEntry& entry : hidden) {
      if (dir.Child(entry.node->name) != nullptr) continue;
      if (mknodat(fd.get(), entry.node->name.c_str(), S_IFCHR, 0) != 0) {
        return ErrnoError(errno, "whiteout of {}/{}", path, entry.node->name);
      }
    }
    if (dir.opaque) {
      TRY(root_.RemoveXattr(path, attribute_));
    }
    const timespec times[2] = {{0, UTIME_OMIT},
                               {dir.mtime_ns / 1'000'000'000, dir.mtime_ns % 1'000'000'000}};
    if (futimens(fd.get(), times) != 0) return ErrnoError(errno, "set times of {}", path);
    return OkStatus();
  }

  sys::RootedPath root_;
  const TreeView& lower_;
  const std::string attribute_;
};

// Any directory below with the attribute. Files are not looked at. A step makes trees as deep as
// it likes.
Result<bool> HasOpaqueBelow(const sys::RootedPath& root, const std::string& attribute) {
  bool found = false;
  TRY(sys::Walk(root, "",
                [&](const sys::WalkEntry& entry) -> Result<sys::WalkNext> {
                  if (entry.path.empty()) return sys::WalkNext::kContinue;
                  const auto value = sys::GetXattrAt(entry.dir, entry.name, attribute);
                  found = value.ok() && *value == "y";
                  return found ? sys::WalkNext::kStop : sys::WalkNext::kContinue;
                },
                {.directories_only = true, .max_depth = sys::kAnyDepth}));
  return found;
}

// Whether a directory that one layer alone has holds a whiteout.
Result<bool> HoldsDangling(const TreeView& chain, const TreeEntry& dir) {
  if (dir.parts.size() != 1) return false;
  const auto& [index, part] = dir.parts[0];
  const std::string_view path = std::string_view(dir.path).substr(1);
  TRY_ASSIGN(const std::vector<TreeNode>* nodes, chain.layer(index).Children(*part, path));
  return std::any_of(nodes->begin(), nodes->end(),
                     [](const TreeNode& node) { return node.IsWhiteout(); });
}

}  // namespace

Status NormalizeDelta(const std::string& directory, const TreeView& lower,
                      const sys::Privileges& privileges) {
  TRY_ASSIGN(const sys::RootedPath root, sys::RootedPath::Open(directory));
  const std::string attribute = privileges.opaque_attribute();
  TRY_ASSIGN(const bool opaque, HasOpaqueBelow(root, attribute));
  if (!opaque) return OkStatus();
  const LayerTree tree(root);
  TRY_ASSIGN(const TreeNode* top, tree.Root());
  TRY_ASSIGN(const TreeEntry below, lower.Root());
  return Normalizer(root, lower, attribute).Visit(tree, *top, "", below, false);
}

Result<bool> HasDanglingWhiteout(const TreeView& chain) {
  TRY_ASSIGN(TreeEntry root, chain.Root());
  std::vector<TreeEntry> pending;
  pending.push_back(std::move(root));
  while (!pending.empty()) {
    const TreeEntry dir = std::move(pending.back());
    pending.pop_back();
    TRY_ASSIGN(const bool dangling, HoldsDangling(chain, dir));
    if (dangling) return true;
    TRY_ASSIGN(std::vector<TreeEntry> children, chain.Children(dir));
    for (TreeEntry& child : children) {
      if (child.node->IsDirectory()) pending.push_back(std::move(child));
    }
  }
  return false;
}

}  // namespace kiln::store
