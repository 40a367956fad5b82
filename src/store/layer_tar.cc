#include "store/layer_tar.h"

#include <sys/sysmacros.h>

#include <cstring>
#include <deque>
#include <map>
#include <optional>

#include "store/tree_paths.h"

namespace kiln::store {
namespace {

constexpr std::string_view kCapability = "security.capability";
constexpr size_t kCompareBytes = 64 << 10;

Result<std::string> Capability(const TreeView& view, const TreeEntry& entry) {
  if (entry.node->IsSymlink()) return std::string();
  TRY_ASSIGN(const sys::Xattrs xattrs, view.Xattrs(entry));
  const auto found = xattrs.find(std::string(kCapability));
  return found == xattrs.end() ? std::string() : found->second;
}

Result<bool> SameContent(const TreeView& a, const TreeEntry& x, const TreeView& b,
                         const TreeEntry& y) {
  if (x.node->IsSymlink()) return x.node->link_target == y.node->link_target;
  if (!x.node->IsRegular()) return true;
  TRY_ASSIGN(const Fd left, a.Open(x));
  TRY_ASSIGN(const Fd right, b.Open(y));
  std::vector<char> one(kCompareBytes);
  std::vector<char> two(kCompareBytes);
  while (true) {
    TRY_ASSIGN(const size_t count, ReadSome(left.get(), one.data(), one.size()));
    size_t got = 0;
    while (got < count) {
      TRY_ASSIGN(const size_t more, ReadSome(right.get(), two.data() + got, count - got));
      if (more == 0) return false;
      got += more;
    }
    if (count == 0) {
      TRY_ASSIGN(const size_t more, ReadSome(right.get(), two.data(), 1));
      return more == 0;
    }
    if (std::memcmp(one.data(), two.data(), count) != 0) return false;
  }
}

class LayerTar {
 public:
  LayerTar(const progress::Activity& activity, const TreeView& layer, const TreeView& below,
           bool standalone, archive::TarWriter& out)
      : activity_(activity),
        tree_(layer.layer(0)),
        view_(layer),
        below_(below),
        standalone_(standalone),
        out_(out) {}

  Status Run() {
    TRY_ASSIGN(const TreeEntry root, view_.Root());
    TRY_ASSIGN(const TreeEntry below, below_.Root());
    TRY(Enter({.dir = root, .below = below, .written = true}));
    while (!levels_.empty()) {
      TRY(Step());
    }
    return out_.Finish();
  }

 private:
  // A directory of the layer that is being read. They are kept here and not on the stack, as a step
  // may leave them as deep as it likes.
  struct Level {
    TreeEntry dir;
    std::string path;
    std::optional<TreeEntry> below;  // the directory that the layers below show there
    bool opaque = false;
    bool written = false;
    const std::vector<TreeNode>* nodes = nullptr;
    size_t next_node = 0;
    std::vector<TreeEntry> hidden;  // what of `below` an opaque directory does not show
    size_t next_hidden = 0;
  };

  Status Enter(Level level) {
    TRY(activity_.Check());
    TRY_ASSIGN(level.nodes, tree_.Children(*level.dir.node, level.path));
    if (level.opaque && level.below) {
      TRY_ASSIGN(level.hidden, below_.Children(*level.below));
    }
    levels_.push_back(std::move(level));
    return OkStatus();
  }

  // The next entry of the innermost directory, or its end.
  Status Step() {
    Level& level = levels_.back();
    if (level.next_node == level.nodes->size()) {
      for (; level.next_hidden < level.hidden.size(); ++level.next_hidden) {
        TRY(Whiteout(level.path, level.hidden[level.next_hidden].node->name));
      }
      levels_.pop_back();
      return OkStatus();
    }
    const TreeNode& node = (*level.nodes)[level.next_node++];
    for (; level.next_hidden < level.hidden.size(); ++level.next_hidden) {
      const std::string& name = level.hidden[level.next_hidden].node->name;
      if (name > node.name) break;
      if (name < node.name) {
        TRY(Whiteout(level.path, name));
      }
    }
    return Child(level, node);
  }

  Status Child(const Level& level, const TreeNode& node) {
    TreeEntry below;
    if (level.below) {
      TRY_ASSIGN(below, below_.Child(*level.below, node.name));
    }
    if (node.IsWhiteout()) {
      return below.node != nullptr || standalone_ ? Whiteout(level.path, node.name) : OkStatus();
    }
    const std::string path = PathInLayer(level.path, node.name);
    if (node.name.starts_with(archive::kWhiteoutPrefix)) {
      return FailedPrecondition(
          "/{}: a name that begins with {} says in an image's layer that the file behind it is "
          "removed, so a file of this name cannot be in one: remove or rename it",
          path, archive::kWhiteoutPrefix);
    }
    TreeEntry entry;
    entry.path = ChildPath(level.dir.path, node.name);
    entry.node = &node;
    bool same = false;
    if (below.node != nullptr && !standalone_) {
      TRY_ASSIGN(same, SameEntry(view_, entry, below_, below));
    }
    if (!node.IsDirectory()) return same ? OkStatus() : Leaf(entry, path);
    Level inner{.dir = std::move(entry), .path = path, .opaque = node.opaque || level.opaque};
    if (below.node != nullptr && below.node->IsDirectory()) inner.below = std::move(below);
    TRY(Enter(std::move(inner)));
    return same ? OkStatus() : Directories();
  }

  // The directories on the way that were not written yet.
  Status Directories() {
    for (Level& level : levels_) {
      if (level.written) continue;
      level.written = true;
      archive::TarEntry entry = Head(*level.dir.node, level.path);
      entry.type = archive::EntryType::kDirectory;
      TRY_ASSIGN(const sys::Xattrs xattrs, tree_.Xattrs(level.path));
      AddCapability(xattrs, &entry);
      TRY(out_.Add(entry));
    }
    return OkStatus();
  }

  Status Whiteout(const std::string& dir, const std::string& name) {
    TRY(Directories());
    archive::TarEntry entry;
    entry.path = (dir.empty() ? "" : dir + "/") + std::string(archive::kWhiteoutPrefix) + name;
    return out_.Add(entry);
  }

  static archive::TarEntry Head(const TreeNode& node, const std::string& path) {
    archive::TarEntry entry;
    entry.path = path;
    entry.mode = node.mode & 07777;
    entry.uid = node.uid;
    entry.gid = node.gid;
    entry.mtime = FromUnixNanos(node.mtime_ns);
    return entry;
  }

  static void AddCapability(const sys::Xattrs& xattrs, archive::TarEntry* entry) {
    const auto found = xattrs.find(std::string(kCapability));
    if (found != xattrs.end()) entry->xattrs.emplace(found->first, found->second);
  }

  Status Leaf(const TreeEntry& from, const std::string& path) {
    const TreeNode& node = *from.node;
    archive::TarEntry entry = Head(node, path);
    switch (node.mode & S_IFMT) {
      case S_IFSOCK:
        return OkStatus();
      case S_IFREG:
        return File(from, std::move(entry));
      case S_IFLNK:
        entry.type = archive::EntryType::kSymlink;
        entry.mode = 0777;
        entry.link = node.link_target;
        break;
      case S_IFIFO:
        entry.type = archive::EntryType::kFifo;
        break;
      default:
        entry.type =
            S_ISCHR(node.mode) ? archive::EntryType::kCharDevice : archive::EntryType::kBlockDevice;
        entry.device_major = gnu_dev_major(node.rdev);
        entry.device_minor = gnu_dev_minor(node.rdev);
    }
    TRY(Directories());
    return out_.Add(entry);
  }

  Status File(const TreeEntry& from, archive::TarEntry entry) {
    const TreeNode& node = *from.node;
    TRY(Directories());
    if (node.nlink > 1) {
      const auto [first, is_new] = inodes_.emplace(node.ino, entry.path);
      if (!is_new) {
        entry.type = archive::EntryType::kHardlink;
        entry.link = first->second;
        return out_.Add(entry);
      }
    }
    entry.size = static_cast<int64_t>(node.size);
    TRY_ASSIGN(const Fd fd, view_.Open(from));
    TRY_ASSIGN(const sys::Xattrs xattrs, FileXattrs(fd.get()));
    AddCapability(xattrs, &entry);
    return node.size == 0 ? out_.Add(entry) : out_.AddFile(entry, fd.get());
  }

  const progress::Activity& activity_;
  const LayerTree& tree_;
  const TreeView& view_;
  const TreeView& below_;
  const bool standalone_;
  archive::TarWriter& out_;
  std::deque<Level> levels_;  // from the root to the innermost; pushing moves none of them
  std::map<uint64_t, std::string> inodes_;
};

}  // namespace

Result<bool> SameEntry(const TreeView& a, const TreeEntry& x, const TreeView& b,
                       const TreeEntry& y) {
  const TreeNode& left = *x.node;
  const TreeNode& right = *y.node;
  if (left.mode != right.mode || left.uid != right.uid || left.gid != right.gid ||
      left.rdev != right.rdev)
    return false;
  TRY_ASSIGN(const std::string one, Capability(a, x));
  TRY_ASSIGN(const std::string two, Capability(b, y));
  if (one != two) return false;
  if (left.IsDirectory()) return true;
  if (left.size != right.size || left.mtime_ns != right.mtime_ns) return false;
  if (left.mtime_ns % 1'000'000'000 != 0) return true;
  return SameContent(a, x, b, y);
}

Status WriteLayerTar(const progress::Activity& activity, const TreeView& layer,
                     const TreeView& below, bool standalone, archive::TarWriter& out) {
  return LayerTar(activity, layer, below, standalone, out).Run();
}

}  // namespace kiln::store
