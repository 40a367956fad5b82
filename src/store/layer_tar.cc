#include "store/layer_tar.h"

#include <sys/sysmacros.h>

#include <cstring>
#include <map>

namespace kiln::store {
namespace {

constexpr std::string_view kCapability = "security.capability";
constexpr size_t kBuffer = 64 << 10;

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
  std::vector<char> one(kBuffer);
  std::vector<char> two(kBuffer);
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
    TRY_ASSIGN(TreeEntry under, below_.Root());
    TRY(Visit(root, "", &under, false));
    return out_.Finish();
  }

 private:
  // `node` is a directory of the layer, `under` what the layers below show there if that is a
  // directory too.
  Status Visit(const TreeEntry& dir, const std::string& path, const TreeEntry* under, bool opaque) {
    TRY(activity_.Check());
    TRY_ASSIGN(const std::vector<TreeNode>* nodes, tree_.Children(*dir.node, path));
    std::vector<TreeEntry> hidden;
    if (opaque && under != nullptr) {
      TRY_ASSIGN(hidden, below_.Children(*under));
    }
    auto lower = hidden.begin();
    for (const TreeNode& node : *nodes) {
      for (; lower != hidden.end() && lower->node->name < node.name; ++lower) {
        TRY(Whiteout(path, lower->node->name));
      }
      if (lower != hidden.end() && lower->node->name == node.name) ++lower;
      TRY(VisitChild(dir, path, node, under, opaque));
    }
    for (; lower != hidden.end(); ++lower) {
      TRY(Whiteout(path, lower->node->name));
    }
    return OkStatus();
  }

  Status VisitChild(const TreeEntry& dir, const std::string& path, const TreeNode& node,
                    const TreeEntry* under, bool opaque) {
    TreeEntry below;
    if (under != nullptr) {
      TRY_ASSIGN(below, below_.Child(*under, node.name));
    }
    if (node.IsWhiteout()) {
      return below.node != nullptr || standalone_ ? Whiteout(path, node.name) : OkStatus();
    }
    if (node.name.starts_with(archive::kWhiteoutPrefix)) {
      return FailedPrecondition(
          "/{}: a name that begins with {} says in an image's layer that the file behind it is "
          "removed, so a file of this name cannot be in one: remove or rename it",
          path.empty() ? node.name : path + "/" + node.name, archive::kWhiteoutPrefix);
    }
    TreeEntry entry;
    entry.path = (dir.path == "/" ? "" : dir.path) + "/" + node.name;
    entry.node = &node;
    const std::string child_path = path.empty() ? node.name : path + "/" + node.name;
    bool same = false;
    if (below.node != nullptr && !standalone_) {
      TRY_ASSIGN(same, SameEntry(view_, entry, below_, below));
    }
    if (!node.IsDirectory()) return same ? OkStatus() : Leaf(entry, child_path);
    pending_.push_back({child_path, &node, false});
    if (!same) {
      TRY(Directories());
    }
    const bool merges = below.node != nullptr && below.node->IsDirectory();
    TRY(Visit(entry, child_path, merges ? &below : nullptr, node.opaque || opaque));
    pending_.pop_back();
    return OkStatus();
  }

  // The directories on the way that were not written yet.
  Status Directories() {
    for (Pending& dir : pending_) {
      if (dir.written) continue;
      dir.written = true;
      archive::TarEntry entry = Head(*dir.node, dir.path);
      entry.type = archive::EntryType::kDirectory;
      TRY_ASSIGN(const sys::Xattrs xattrs, tree_.Xattrs(dir.path));
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

  struct Pending {
    std::string path;
    const TreeNode* node;
    bool written;
  };

  const progress::Activity& activity_;
  const LayerTree& tree_;
  const TreeView& view_;
  const TreeView& below_;
  const bool standalone_;
  archive::TarWriter& out_;
  std::vector<Pending> pending_;
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
