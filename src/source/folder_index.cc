#include "source/folder_index.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "store/content_hash.h"

namespace kiln::source {
namespace {

filesync::Entry EntryOf(const std::string& path, const store::TreeNode& node) {
  filesync::Entry entry;
  entry.path = path;
  entry.mode = node.mode;
  entry.uid = node.uid;
  entry.gid = node.gid;
  if (!node.IsDirectory()) entry.size = static_cast<int64_t>(node.size);
  entry.mtime_ns = node.mtime_ns;
  entry.linkname = node.link_target;
  if (entry.IsDevice()) {
    entry.devmajor = gnu_dev_major(node.rdev);
    entry.devminor = gnu_dev_minor(node.rdev);
  }
  entry.digest = node.digest;
  return entry;
}

// As the hash sees it; what the disk says of inode and links is not needed for that.
store::TreeNode NodeForHash(const filesync::Entry& entry) {
  store::TreeNode node;
  node.mode = entry.mode;
  node.uid = entry.uid;
  node.gid = entry.gid;
  if (entry.IsRegular()) node.size = static_cast<uint64_t>(entry.size);
  if (entry.IsSymlink()) node.link_target = entry.linkname;
  node.mtime_ns = entry.mtime_ns;
  if (entry.IsDevice()) node.rdev = gnu_dev_makedev(entry.devmajor, entry.devminor);
  return node;
}

sys::Xattrs XattrsOf(const filesync::Entry& entry) {
  return {entry.xattrs.begin(), entry.xattrs.end()};
}

class HasherAdapter final : public filesync::EntryHasher {
 public:
  explicit HasherAdapter(const filesync::Entry& entry)
      : hasher_(NodeForHash(entry), XattrsOf(entry)) {}
  void Update(std::string_view content) override { hasher_.Update(content); }
  Digest Finish() override { return hasher_.Finish(); }

 private:
  store::EntryHasher hasher_;
};

// Looks at entries of the directory in wire order, so that a parent is opened once for all its
// children.
class Looker {
 public:
  explicit Looker(const sys::RootedPath& root) : root_(root) {}

  Result<store::TreeNode> Look(const std::string& path) {
    const size_t slash = path.rfind('/');
    const std::string parent = slash == std::string::npos ? std::string() : path.substr(0, slash);
    const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    if (!dir_.valid() || parent != parent_) {
      TRY_ASSIGN(dir_, root_.OpenDir(parent));
      parent_ = parent;
    }
    TRY_ASSIGN_CTX(const sys::FileInfo info, sys::StatAt(dir_.get(), name), "{}", path);
    std::string target;
    if (info.IsSymlink()) {
      TRY_ASSIGN(target, sys::ReadLinkAt(dir_.get(), name));
    }
    return store::NodeOf(name, info, std::move(target));
  }

 private:
  const sys::RootedPath& root_;
  std::string parent_;
  Fd dir_;
};

Digest DigestOf(const filesync::Entry& entry) {
  if (entry.IsRegular()) return entry.digest;
  return store::EntryHasher(NodeForHash(entry), XattrsOf(entry)).Finish();
}

}  // namespace

std::unique_ptr<filesync::EntryHasher> MakeEntryHasher(const filesync::Entry& entry) {
  return std::make_unique<HasherAdapter>(entry);
}

Result<Listing> ListingOf(const store::LayerTree& index) {
  Listing listing;
  // First path of each inode that has several names.
  std::unordered_map<uint64_t, std::string> first_names;
  TRY(index.Walk([&](const std::string& path, const store::TreeNode& node) -> Status {
    if (path.empty()) return OkStatus();
    filesync::Entry entry = EntryOf(path, node);
    if (node.IsDirectory()) {
      listing.directories.emplace(path, Listing::Directory{node.mtime_ns, node.digest});
    }
    if (node.IsRegular() && node.nlink > 1) {
      const auto [first, is_first] = first_names.try_emplace(node.ino, path);
      if (!is_first) entry.linkname = first->second;
    }
    listing.entries.push_back(std::move(entry));
    return OkStatus();
  }));
  return listing;
}

Status UpdateIndex(store::LayerTree& index, const filesync::ReceiveReport& report,
                   const Listing& before) {
  for (const std::string& path : report.removed) TRY(index.Remove(path));
  Looker looker(index.directory());
  std::unordered_set<std::string> link_targets;
  for (const uint32_t at : report.changed) {
    const filesync::Entry& entry = report.entries[at];
    TRY_ASSIGN(store::TreeNode node, looker.Look(entry.path));
    TRY(index.Put(entry.path, std::move(node), DigestOf(entry)));
    if (entry.IsHardLink()) link_targets.insert(entry.linkname);
  }
  // The number of names of a file that got another one, and times of directories, are no changes to
  // the receiver.
  const bool relist = !link_targets.empty();
  size_t next_changed = 0;
  for (uint32_t i = 0; i < report.entries.size(); ++i) {
    const bool changed = next_changed < report.changed.size() && report.changed[next_changed] == i;
    if (changed) ++next_changed;
    const filesync::Entry& entry = report.entries[i];
    bool stale = relist && link_targets.contains(entry.path);
    if (entry.IsDirectory() && !changed) {
      const auto old = before.directories.find(entry.path);
      // Earlier versions kept a digest while mode and owner changed.
      stale = old == before.directories.end() || old->second.mtime_ns != entry.mtime_ns ||
              old->second.digest != DigestOf(entry);
    }
    if (!stale) continue;
    TRY_ASSIGN(store::TreeNode node, looker.Look(entry.path));
    TRY(index.Put(entry.path, std::move(node), DigestOf(entry)));
  }
  return OkStatus();
}

}  // namespace kiln::source
