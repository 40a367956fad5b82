#include "store/delta.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strings.h"

namespace kiln::store {
namespace {

std::string Below(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "/" + name;
}

class Normalizer {
 public:
  Normalizer(sys::RootedPath root, const TreeView& lower, bool userxattr)
      : root_(std::move(root)),
        lower_(lower),
        attribute_(userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque") {}

  // `below` is what the layers below show at this directory, if that is a directory. Each directory
  // is read before it is changed.
  Status Visit(const LayerTree& tree, const TreeNode& dir, const std::string& path,
               const std::optional<TreeEntry>& below, bool opaque) {
    TRY_ASSIGN(const std::vector<TreeNode>* children, tree.Children(dir, path));
    if (opaque) {
      TRY(Expand(dir, path, below));
    }
    for (const TreeNode& child : *children) {
      if (!child.IsDirectory()) continue;
      std::optional<TreeEntry> under;
      if (below) {
        TRY_ASSIGN(TreeEntry entry, lower_.Child(*below, child.name));
        if (entry.node != nullptr && entry.node->IsDirectory()) under = std::move(entry);
      }
      TRY(Visit(tree, child, Below(path, child.name), under, child.opaque || (opaque && under)));
    }
    return OkStatus();
  }

 private:
  Status Expand(const TreeNode& dir, const std::string& path,
                const std::optional<TreeEntry>& below) {
    TRY_ASSIGN(const Fd fd, root_.OpenDir(path));
    if (below) {
      TRY_ASSIGN(const std::vector<TreeEntry> hidden, lower_.Children(*below));
      for (const TreeEntry& entry : hidden) {
        if (dir.Child(entry.node->name) != nullptr) continue;
        if (mknodat(fd.get(), entry.node->name.c_str(), S_IFCHR, 0) != 0) {
          return ErrnoError(errno, "whiteout of {}/{}", path, entry.node->name);
        }
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

// Any directory at or below `dir` (open for reading) with the attribute. Files are not looked at.
Result<bool> HasOpaqueBelow(int dir, const std::string& attribute) {
  TRY_ASSIGN(const std::vector<sys::DirEntry> entries, sys::ReadDir(dir));
  for (const sys::DirEntry& entry : entries) {
    bool directory = entry.type == DT_DIR;
    if (entry.type == DT_UNKNOWN) {
      TRY_ASSIGN(const sys::FileInfo info, sys::StatAt(dir, entry.name));
      directory = info.IsDirectory();
    }
    if (!directory) continue;
    auto value = sys::GetXattrAt(dir, entry.name, attribute);
    if (value.ok() && *value == "y") return true;
    TRY_ASSIGN(const Fd child, sys::OpenDirAt(dir, entry.name));
    TRY_ASSIGN(const bool found, HasOpaqueBelow(child.get(), attribute));
    if (found) return true;
  }
  return false;
}

Result<bool> Dangles(const TreeView& chain, const TreeEntry& dir) {
  for (const auto& [index, part] : dir.parts) {
    const std::string_view path = std::string_view(dir.path).substr(1);
    TRY_ASSIGN(const std::vector<TreeNode>* nodes, chain.layer(index).Children(*part, path));
    for (const TreeNode& node : *nodes) {
      if (node.IsWhiteout() && dir.parts.size() == 1) return true;
    }
  }
  TRY_ASSIGN(const std::vector<TreeEntry> children, chain.Children(dir));
  for (const TreeEntry& child : children) {
    if (!child.node->IsDirectory()) continue;
    TRY_ASSIGN(const bool found, Dangles(chain, child));
    if (found) return true;
  }
  return false;
}

}  // namespace

Result<uint64_t> DiskBytes(const std::string& directory, const std::set<uint64_t>& not_counted) {
  TRY_ASSIGN(const sys::RootedPath root, sys::RootedPath::Open(directory));
  uint64_t bytes = 0;
  std::set<uint64_t> seen;
  TRY(sys::Walk(root, "", [&](const sys::WalkEntry& entry) -> Result<sys::WalkNext> {
    const bool shared = !entry.info.IsDirectory() && entry.info.nlink > 1;
    if (!shared || (!not_counted.contains(entry.info.ino) && seen.insert(entry.info.ino).second)) {
      bytes += entry.info.blocks * 512;
    }
    return sys::WalkNext::kContinue;
  }));
  return bytes;
}

Status NormalizeDelta(const std::string& directory, const TreeView& lower, bool userxattr) {
  TRY_ASSIGN(const sys::RootedPath root, sys::RootedPath::Open(directory));
  TRY_ASSIGN(const Fd top_fd, root.OpenDir("/"));
  TRY_ASSIGN(const bool opaque, HasOpaqueBelow(top_fd.get(), userxattr ? "user.overlay.opaque"
                                                                       : "trusted.overlay.opaque"));
  if (!opaque) return OkStatus();
  const LayerTree tree(root);
  TRY_ASSIGN(const TreeNode* top, tree.Root());
  TRY_ASSIGN(TreeEntry below, lower.Root());
  return Normalizer(root, lower, userxattr)
      .Visit(tree, *top, "", std::optional<TreeEntry>(std::move(below)), false);
}

Result<bool> HasDanglingWhiteout(const TreeView& chain) {
  TRY_ASSIGN(const TreeEntry root, chain.Root());
  return Dangles(chain, root);
}

}  // namespace kiln::store
