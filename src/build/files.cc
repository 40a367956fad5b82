#include "build/files.h"

#include <algorithm>

#include "base/pattern_matcher.h"
#include "base/strings.h"
#include "store/store.h"

namespace kiln::build {
namespace {

// "open /x: no such file or directory": what Go programs expect to read.
Error Explain(Error error, std::string_view verb, const std::string& path) {
  if (error.code() == Code::kNotFound)
    return NotFound("{} {}: no such file or directory", verb, path);
  return std::move(error.AddContext(fmt::format("{} {}", verb, path)));
}

sys::FileInfo InfoOf(const store::TreeNode& node) {
  sys::FileInfo info;
  info.mode = node.mode;
  info.uid = node.uid;
  info.gid = node.gid;
  info.size = node.IsRegular() ? node.size : node.IsSymlink() ? node.link_target.size() : 0;
  info.rdev = node.rdev;
  info.nlink = node.nlink;
  info.mtime = FromUnixNanos(node.mtime_ns);
  return info;
}

Result<FileStat> StatOf(const store::TreeView& tree, const store::TreeEntry& entry,
                        std::string path) {
  FileStat stat{std::move(path), InfoOf(*entry.node), entry.node->link_target, {}};
  TRY_ASSIGN(stat.xattrs, tree.Xattrs(entry));
  return stat;
}

Result<store::TreeView> TreeOf(store::Store& store, const store::SnapshotRef& ref) {
  if (ref.is_scratch()) return store::TreeView();
  return store.Tree(ref);
}

}  // namespace

Result<std::string> ReadFile(const progress::Activity& activity, Reference& reference,
                             const std::string& path, std::optional<FileRange> range,
                             size_t limit) {
  if (range && (range->offset < 0 || range->length < 0))
    return InvalidArgument("invalid range for {}", path);
  // No file is that long: what is read of it at most.
  const auto most = static_cast<uint64_t>(limit) + 1;
  const auto offset = range ? static_cast<uint64_t>(range->offset) : 0;
  const uint64_t wanted = range ? static_cast<uint64_t>(range->length) : UINT64_MAX;
  std::string data;
  TRY(reference.Use(activity, true, [&](const store::SnapshotRef& ref) -> Status {
    TRY_ASSIGN(auto tree, TreeOf(reference.store(), ref));
    auto entry = tree.Lookup(path);
    if (!entry.ok()) return Explain(std::move(entry).error(), "open", path);
    if (!entry->node->IsRegular()) return InvalidArgument("open {}: not a regular file", path);
    data.clear();
    const uint64_t size = entry->node->size;
    const uint64_t length = std::min(wanted, offset < size ? size - offset : 0);
    if (length == 0) return OkStatus();
    if (length >= most && wanted > most)
      return Unknown("{} exceeds maximum allowed size of {} bytes", path, limit);
    auto text = tree.ReadFile(path, offset, length, most);
    if (!text.ok()) return Explain(std::move(text).error(), "read", path);
    data = std::move(*text);
    return OkStatus();
  }));
  return data;
}

Result<std::vector<FileStat>> ReadDir(const progress::Activity& activity, Reference& reference,
                                      const std::string& path, const std::string& include) {
  std::vector<std::string> patterns;
  if (!include.empty()) patterns.push_back(include);
  TRY_ASSIGN(auto matcher, PatternMatcher::Create(patterns));
  std::vector<FileStat> stats;
  TRY(reference.Use(activity, true, [&](const store::SnapshotRef& ref) -> Status {
    TRY_ASSIGN(auto tree, TreeOf(reference.store(), ref));
    auto dir = tree.Lookup(path);
    if (!dir.ok()) return Explain(std::move(dir).error(), "open", path);
    auto children = tree.Children(*dir);
    if (!children.ok()) return Explain(std::move(children).error(), "readdir", path);
    stats.clear();
    for (const auto& child : *children) {
      const std::string& name = child.node->name;
      if (!matcher.empty() && !matcher.MatchesOrParentMatches(name)) continue;
      TRY_ASSIGN(auto stat, StatOf(tree, child, name));
      stats.push_back(std::move(stat));
    }
    return OkStatus();
  }));
  return stats;
}

Result<FileStat> StatFile(const progress::Activity& activity, Reference& reference,
                          const std::string& path) {
  std::optional<FileStat> found;
  TRY(reference.Use(activity, true, [&](const store::SnapshotRef& ref) -> Status {
    TRY_ASSIGN(auto tree, TreeOf(reference.store(), ref));
    auto entry = tree.Lookup(path);
    if (!entry.ok()) return Explain(std::move(entry).error(), "stat", path);
    TRY_ASSIGN(found, StatOf(tree, *entry, BaseName(path)));
    return OkStatus();
  }));
  return *std::move(found);
}

}  // namespace kiln::build
