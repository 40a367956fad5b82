#include "store/layer_tree.h"

#include <fcntl.h>
#include <sys/xattr.h>

#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "store/content_hash.h"
#include "store/tree_paths.h"

namespace kiln::store {
namespace {

constexpr size_t kReadBuffer = 128 << 10;

bool IsOverlayXattr(std::string_view name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
}

struct ByName {
  bool operator()(const TreeNode& node, std::string_view name) const { return node.name < name; }
};

Result<bool> IsOpaque(int dir, const std::string& name) {
  for (const char* attribute : {"trusted.overlay.opaque", "user.overlay.opaque"}) {
    auto value = sys::GetXattrAt(dir, name, attribute);
    if (value.ok() && *value == "y") return true;
  }
  return false;
}

// One entry of an open directory.
Result<TreeNode> ReadNode(int dir, std::string name) {
  TRY_ASSIGN(const sys::FileInfo info, sys::StatAt(dir, name));
  std::string target;
  if (info.IsSymlink()) {
    TRY_ASSIGN(target, sys::ReadLinkAt(dir, name));
  }
  bool opaque = false;
  if (info.IsDirectory()) {
    TRY_ASSIGN(opaque, IsOpaque(dir, name));
  }
  TreeNode node = NodeOf(std::move(name), info, std::move(target));
  node.opaque = opaque;
  return node;
}

sys::Xattrs WithoutOverlay(sys::Xattrs xattrs) {
  std::erase_if(xattrs, [](const auto& pair) { return IsOverlayXattr(pair.first); });
  return xattrs;
}

Result<Digest> HashFile(const TreeNode& node, int fd) {
  TRY_ASSIGN(sys::Xattrs xattrs, FileXattrs(fd));
  EntryHasher hasher(node, xattrs);
  thread_local std::vector<char> buffer(kReadBuffer);
  while (node.size > 0) {
    TRY_ASSIGN(const size_t count, ReadSome(fd, buffer.data(), buffer.size()));
    if (count == 0) break;
    hasher.Update({buffer.data(), count});
  }
  return hasher.Finish();
}

Status WalkNode(const LayerTree& tree, const std::string& path, const TreeNode& node,
                const LayerTree::Visitor& visit) {
  TRY(visit(path, node));
  if (!node.IsDirectory()) return OkStatus();
  TRY_ASSIGN(const std::vector<TreeNode>* children, tree.Children(node, path));
  for (const TreeNode& child : *children) {
    TRY(WalkNode(tree, PathInLayer(path, child.name), child, visit));
  }
  return OkStatus();
}

size_t CountNodes(const TreeNode& node) {
  size_t count = 1;
  for (const TreeNode& child : node.children) count += CountNodes(child);
  return count;
}

}  // namespace

Result<sys::Xattrs> FileXattrs(int fd) {
  // Nearly no file has any.
  if (flistxattr(fd, nullptr, 0) == 0) return sys::Xattrs();
  TRY_ASSIGN(sys::Xattrs xattrs, sys::GetXattrsFd(fd));
  return WithoutOverlay(std::move(xattrs));
}

const TreeNode* TreeNode::Child(std::string_view child_name) const {
  auto at = std::lower_bound(children.begin(), children.end(), child_name, ByName());
  return at != children.end() && at->name == child_name ? &*at : nullptr;
}

TreeNode NodeOf(std::string name, const sys::FileInfo& info, std::string link_target) {
  TreeNode node;
  node.name = std::move(name);
  node.link_target = std::move(link_target);
  node.mode = info.mode;
  node.uid = info.uid;
  node.gid = info.gid;
  node.nlink = static_cast<uint32_t>(info.nlink);
  node.size = info.size;
  node.mtime_ns = UnixNanos(info.mtime);
  node.rdev = info.rdev;
  node.ino = info.ino;
  return node;
}

LayerTree::LayerTree(sys::RootedPath root) : directory_(std::move(root)) {}

Result<const TreeNode*> LayerTree::Root() const {
  MutexLock lock(mutex_);
  if (!root_loaded_) {
    TRY_ASSIGN(const sys::FileInfo info, sys::StatFd(directory_.fd()));
    TreeNode root = NodeOf("", info, "");
    root.loaded = root_.loaded;
    root.children = std::move(root_.children);
    root.digest = root_.digest;
    root_ = std::move(root);
    root_loaded_ = true;
    ++nodes_;
  }
  return &root_;
}

Result<const std::vector<TreeNode>*> LayerTree::Children(const TreeNode& dir,
                                                         std::string_view path) const {
  MutexLock lock(mutex_);
  if (!dir.loaded) {
    TRY(LoadChildren(dir, path));
  }
  return &dir.children;
}

// A directory is read once, whoever asks.
Status LayerTree::LoadChildren(const TreeNode& dir, std::string_view path) const {
  if (!complete_) {
    TRY_ASSIGN(const Fd fd, directory_.OpenDir(path));
    TRY_ASSIGN(std::vector<sys::DirEntry> names, sys::ReadDir(fd.get()));
    std::vector<TreeNode> children;
    children.reserve(names.size());
    for (sys::DirEntry& entry : names) {
      TRY_ASSIGN(TreeNode node, ReadNode(fd.get(), std::move(entry.name)));
      children.push_back(std::move(node));
    }
    nodes_ += children.size();
    dir.children = std::move(children);
  }
  dir.loaded = true;
  changed_ = true;
  return OkStatus();
}

Result<const TreeNode*> LayerTree::Find(std::string_view path) const {
  TRY_ASSIGN(const TreeNode* node, Root());
  size_t begin = 0;
  while (begin < path.size()) {
    const size_t slash = std::min(path.find('/', begin), path.size());
    if (slash > begin) {
      if (!node->IsDirectory()) return nullptr;
      TRY(Children(*node, path.substr(0, begin == 0 ? 0 : begin - 1)));
      node = node->Child(path.substr(begin, slash - begin));
      if (node == nullptr) return nullptr;
    }
    begin = slash + 1;
  }
  return node;
}

Result<std::shared_ptr<const Fd>> LayerTree::DirectoryOf(std::string_view path,
                                                         std::string* name) const {
  const size_t slash = path.rfind('/');
  const std::string_view parent = slash == path.npos ? "" : path.substr(0, slash);
  *name = std::string(slash == path.npos ? path : path.substr(slash + 1));
  if (name->empty()) *name = ".";
  {
    MutexLock lock(last_mutex_);
    for (const OpenDirectory& last : last_) {
      if (last.fd != nullptr && last.path == parent) return last.fd;
    }
  }
  TRY_ASSIGN(Fd fd, directory_.OpenDir(parent));
  auto directory = std::make_shared<const Fd>(std::move(fd));
  MutexLock lock(last_mutex_);
  last_[next_last_++ % last_.size()] = {std::string(parent), directory};
  return directory;
}

Result<Fd> LayerTree::Open(std::string_view path) const {
  std::string name;
  TRY_ASSIGN(const std::shared_ptr<const Fd> directory, DirectoryOf(path, &name));
  Fd fd(openat(directory->get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "open {}", path);
  return fd;
}

Result<sys::Xattrs> LayerTree::Xattrs(std::string_view path) const {
  std::string name;
  TRY_ASSIGN(const std::shared_ptr<const Fd> directory, DirectoryOf(path, &name));
  TRY_ASSIGN(sys::Xattrs xattrs, sys::GetXattrsAt(directory->get(), name));
  return WithoutOverlay(std::move(xattrs));
}

Result<Digest> LayerTree::EntryDigest(const TreeNode& node, std::string_view path) const {
  {
    MutexLock lock(mutex_);
    if (!node.digest.empty()) return node.digest;
  }
  Digest digest;
  if (node.IsRegular()) {
    TRY_ASSIGN(const Fd fd, Open(path));
    TRY_ASSIGN_CTX(digest, HashFile(node, fd.get()), "reading {}", path);
  } else {
    TRY_ASSIGN(const sys::Xattrs xattrs, Xattrs(path));
    digest = EntryHasher(node, xattrs).Finish();
  }
  MutexLock lock(mutex_);
  node.digest = digest;
  changed_ = true;
  return digest;
}

Status LayerTree::Walk(const Visitor& visit) const {
  TRY_ASSIGN(const TreeNode* root, Root());
  return WalkNode(*this, "", *root, visit);
}

TreeNode* LayerTree::FindMutable(std::string_view path) {
  auto found = Find(path);
  return found.ok() ? const_cast<TreeNode*>(*found) : nullptr;
}

Status LayerTree::Put(std::string_view path, TreeNode node, Digest digest) {
  const size_t slash = path.rfind('/');
  const std::string_view parent_path = slash == path.npos ? "" : path.substr(0, slash);
  const std::string_view name = slash == path.npos ? path : path.substr(slash + 1);
  node.digest = digest;
  if (name.empty()) {
    TRY(Root());
    const MutexLock lock(mutex_);
    node.children = std::move(root_.children);
    node.loaded = root_.loaded;
    root_ = std::move(node);
    changed_ = true;
    return OkStatus();
  }
  TreeNode* parent = FindMutable(parent_path);
  if (parent == nullptr || !parent->IsDirectory()) {
    return InvalidArgument("{}: parent directory is not in the index", Quoted(path));
  }
  TRY(Children(*parent, parent_path));
  MutexLock lock(mutex_);
  changed_ = true;
  node.name = std::string(name);
  auto& siblings = parent->children;
  auto at = std::lower_bound(siblings.begin(), siblings.end(), name, ByName());
  if (at == siblings.end() || at->name != name) {
    node.loaded = true;
    ++nodes_;
    siblings.insert(at, std::move(node));
    return OkStatus();
  }
  if (at->IsDirectory() && node.IsDirectory()) {
    node.children = std::move(at->children);
    node.loaded = at->loaded;
  } else {
    nodes_ -= CountNodes(*at) - 1;
    node.loaded = true;
  }
  *at = std::move(node);
  return OkStatus();
}

Status LayerTree::Remove(std::string_view path) {
  const size_t slash = path.rfind('/');
  const std::string_view parent_path = slash == path.npos ? "" : path.substr(0, slash);
  TreeNode* parent = FindMutable(parent_path);
  if (parent == nullptr || !parent->IsDirectory()) return OkStatus();
  TRY(Children(*parent, parent_path));
  MutexLock lock(mutex_);
  const std::string_view name = slash == path.npos ? path : path.substr(slash + 1);
  auto at = std::lower_bound(parent->children.begin(), parent->children.end(), name, ByName());
  if (at == parent->children.end() || at->name != name) return OkStatus();
  nodes_ -= CountNodes(*at);
  parent->children.erase(at);
  changed_ = true;
  return OkStatus();
}

void LayerTree::SetComplete() {
  MutexLock lock(mutex_);
  complete_ = true;
}

size_t LayerTree::MemoryBytes() const {
  MutexLock lock(mutex_);
  return sizeof(*this) + nodes_ * (sizeof(TreeNode) + 16);
}

}  // namespace kiln::store
