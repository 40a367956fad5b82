#include "store/layer_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>

#include "base/strings.h"
#include "store/layer_writer_internal.h"
#include "store/tree_paths.h"

namespace kiln::store {
namespace {

sys::FileInfo InfoOf(const TreeNode& node) {
  sys::FileInfo info;
  info.mode = node.mode;
  info.uid = node.uid;
  info.gid = node.gid;
  info.size = node.size;
  info.rdev = node.rdev;
  info.ino = node.ino;
  info.nlink = node.nlink;
  info.mtime = FromUnixNanos(node.mtime_ns);
  info.atime = info.mtime;
  return info;
}

}  // namespace

NodeMeta MetaOf(const sys::FileInfo& info, sys::Xattrs xattrs) {
  NodeMeta meta;
  meta.mode = info.mode & 07777;
  meta.uid = info.uid;
  meta.gid = info.gid;
  meta.mtime = info.mtime;
  meta.atime = info.atime;
  meta.xattrs = std::move(xattrs);
  return meta;
}

// Where a path leads in the union. `dirs` are the directories passed, root first; `leaf` is what
// stands at the end unless that is a directory; `missing` holds the components that are not there.
struct LayerWriter::Resolved {
  std::vector<WriterDir> dirs;
  std::optional<WriterEntry> leaf;
  std::vector<std::string> missing;

  void Up(size_t floor);
  std::string Path() const;
};

LayerWriter::LayerWriter(TreeView lower, sys::RootedPath upper, Options options)
    : lower_(std::move(lower)), upper_(std::move(upper)), options_(std::move(options)) {}

Result<WriterDir> LayerWriter::RootDir() const {
  WriterDir root;
  root.path = "/";
  TRY_ASSIGN(root.upper, upper_.OpenDir("/"));
  TRY_ASSIGN(root.lower, lower_.Root());
  return root;
}

Result<LayerWriter::Look> LayerWriter::LookAt(const WriterDir& dir, const std::string& name) const {
  Look look;
  if (dir.upper.valid()) {
    auto info = sys::StatAt(dir.upper.get(), name);
    if (info.ok()) {
      look.whiteout = info->IsWhiteout();
      if (!look.whiteout) look.upper = *info;
    } else if (info.error().code() != Code::kNotFound) {
      return std::move(info).error();
    }
  }
  if (dir.lower) {
    TRY_ASSIGN(TreeEntry child, lower_.Child(*dir.lower, name));
    if (child.node != nullptr) look.lower = std::move(child);
  }
  return look;
}

Result<WriterDir> LayerWriter::Descend(const WriterDir& dir, const std::string& name,
                                       const Look& look) const {
  WriterDir child;
  child.path = ChildPath(dir.path, name);
  bool merges = look.lower && look.lower->node->IsDirectory();
  if (look.upper) {
    TRY_ASSIGN(child.upper, sys::OpenDirAt(dir.upper.get(), name));
    const char* attribute = options_.privileges.opaque_attribute();
    auto opaque =
        merges ? sys::GetXattrAt(dir.upper.get(), name, attribute) : Result<std::string>("");
    merges = merges && !(opaque.ok() && *opaque == "y");
  }
  if (merges) child.lower = look.lower;
  return child;
}

// One component up, but not out of the first `floor` directories.
void LayerWriter::Resolved::Up(size_t floor) {
  if (!missing.empty()) {
    missing.pop_back();
  } else if (leaf) {
    leaf.reset();
  } else if (dirs.size() > floor) {
    dirs.pop_back();
  }
}

std::string LayerWriter::Resolved::Path() const {
  std::string path = leaf ? leaf->path : dirs.back().path;
  for (const std::string& name : missing) path = ChildPath(path, name);
  return path;
}

Result<bool> LayerWriter::Step(Resolved* at, const std::string& name, bool follow,
                               std::string* target) const {
  if (!at->missing.empty() || at->leaf) {
    at->missing.push_back(name);
    return false;
  }
  TRY_ASSIGN(const Look look, LookAt(at->dirs.back(), name));
  if (!look.visible()) {
    at->missing.push_back(name);
    return false;
  }
  TRY_ASSIGN(WriterEntry entry, EntryOf(at->dirs.back(), name, look));
  if (entry.info.IsDirectory()) {
    TRY_ASSIGN(WriterDir dir, Descend(at->dirs.back(), name, look));
    at->dirs.push_back(std::move(dir));
    return false;
  }
  if (entry.info.IsSymlink() && follow) {
    *target = std::move(entry.link_target);
    return true;
  }
  at->leaf = std::move(entry);
  return false;
}

Status LayerWriter::ResolveFrom(Resolved* at, std::string_view path, Follow last) const {
  if (path.find('\0') != path.npos) return InvalidArgument("path {} has a zero byte", Quoted(path));
  const size_t floor = at->dirs.size();
  std::deque<std::string> pending;
  PushComponents(path, &pending);
  int links = 0;
  while (!pending.empty()) {
    const std::string name = std::move(pending.front());
    pending.pop_front();
    if (name == "..") {
      at->Up(floor);
      continue;
    }
    std::string target;
    TRY_ASSIGN(const bool link, Step(at, name, !pending.empty() || last == Follow::kYes, &target));
    if (!link) continue;
    if (++links > kMaxLinks) return FailedPrecondition("{}: too many links", path);
    if (target.starts_with('/')) at->dirs.resize(floor);
    PushComponents(target, &pending);
  }
  return OkStatus();
}

Result<LayerWriter::Resolved> LayerWriter::ResolveUnion(std::string_view path, Follow last) const {
  Resolved at;
  TRY_ASSIGN(WriterDir root, RootDir());
  at.dirs.push_back(std::move(root));
  TRY(ResolveFrom(&at, path, last));
  return at;
}

Result<std::string> LayerWriter::ResolveBelow(std::string_view base, std::string_view path,
                                              Follow last) const {
  TRY_ASSIGN(Resolved at, ResolveUnion(base, Follow::kYes));
  if (at.leaf) return FailedPrecondition("{}: not a directory", base);
  if (!at.missing.empty()) return NotFound("{}: no such file or directory", base);
  TRY(ResolveFrom(&at, path, last));
  return at.Path();
}

Result<WriterEntry> LayerWriter::EntryOf(const WriterDir& dir, const std::string& name,
                                         const Look& look) const {
  WriterEntry entry;
  entry.path = ChildPath(dir.path, name);
  entry.in_upper = look.upper.has_value();
  entry.info = look.upper ? *look.upper : InfoOf(*look.lower->node);
  entry.lower = look.lower;
  if (!entry.info.IsSymlink()) return entry;
  if (entry.in_upper) {
    TRY_ASSIGN(entry.link_target, sys::ReadLinkAt(dir.upper.get(), name));
  } else {
    entry.link_target = look.lower->node->link_target;
  }
  return entry;
}

Result<std::optional<WriterEntry>> LayerWriter::StatIn(const WriterDir& dir,
                                                       const std::string& name) const {
  TRY_ASSIGN(const Look look, LookAt(dir, name));
  if (!look.visible()) return std::optional<WriterEntry>();
  TRY_ASSIGN(WriterEntry entry, EntryOf(dir, name, look));
  return std::optional<WriterEntry>(std::move(entry));
}

Result<std::optional<WriterEntry>> LayerWriter::Stat(std::string_view path, Follow last) const {
  TRY_ASSIGN(Resolved at, ResolveUnion(path, last));
  if (!at.missing.empty()) return std::optional<WriterEntry>();
  if (at.leaf) return std::optional<WriterEntry>(std::move(at.leaf));
  const WriterDir& dir = at.dirs.back();
  WriterEntry entry;
  entry.path = dir.path;
  entry.in_upper = dir.upper.valid();
  entry.lower = dir.lower;
  if (entry.in_upper) {
    TRY_ASSIGN(entry.info, sys::StatFd(dir.upper.get()));
  } else {
    entry.info = InfoOf(*dir.lower->node);
  }
  return std::optional<WriterEntry>(std::move(entry));
}

Result<std::string> LayerWriter::Resolve(std::string_view path, Follow last) const {
  TRY_ASSIGN(const Resolved at, ResolveUnion(path, last));
  return at.Path();
}

Result<WriterDir> LayerWriter::OpenDir(std::string_view path) const {
  TRY_ASSIGN(Resolved at, ResolveUnion(path, Follow::kYes));
  if (at.leaf) return FailedPrecondition("{}: not a directory", path);
  if (!at.missing.empty()) return NotFound("{}: no such file or directory", path);
  return std::move(at.dirs.back());
}

Result<WriterDir> LayerWriter::OpenParent(std::string_view path, std::string* name) const {
  std::string_view trimmed = path;
  while (trimmed.ends_with('/')) trimmed.remove_suffix(1);
  const size_t slash = trimmed.rfind('/');
  *name = std::string(slash == trimmed.npos ? trimmed : trimmed.substr(slash + 1));
  if (name->empty() || *name == "." || *name == "..")
    return InvalidArgument("{}: not the path of an entry", Quoted(path));
  return OpenDir(slash == trimmed.npos ? "/" : trimmed.substr(0, slash + 1));
}

Result<std::string> LayerWriter::ReadFile(std::string_view path, uint64_t limit) const {
  TRY_ASSIGN(const Resolved at, ResolveUnion(path, Follow::kYes));
  if (!at.missing.empty()) return NotFound("{}: no such file or directory", path);
  if (!at.leaf || !at.leaf->info.IsRegular())
    return FailedPrecondition("{}: not a regular file", path);
  if (at.leaf->in_upper) return upper_.ReadFile(at.leaf->path, limit);
  return lower_.ReadFile(at.leaf->path, 0, 0, limit);
}

Result<sys::Xattrs> LayerWriter::Xattrs(const WriterEntry& entry) const {
  if (!entry.in_upper) return lower_.Xattrs(*entry.lower);
  TRY_ASSIGN(sys::Xattrs xattrs, upper_.GetXattrs(entry.path));
  std::erase_if(xattrs, [](const auto& pair) {
    return pair.first.starts_with("trusted.overlay.") || pair.first.starts_with("user.overlay.");
  });
  return xattrs;
}

Result<std::vector<std::string>> LayerWriter::List(std::string_view path) const {
  TRY_ASSIGN(const WriterDir dir, OpenDir(path));
  std::set<std::string> names;
  if (dir.lower) {
    TRY_ASSIGN(const std::vector<TreeEntry> below, lower_.Children(*dir.lower));
    for (const TreeEntry& entry : below) names.insert(entry.node->name);
  }
  if (dir.upper.valid()) {
    TRY_ASSIGN(const std::vector<sys::DirEntry> above, sys::ReadDir(dir.upper.get()));
    for (const sys::DirEntry& entry : above) {
      TRY_ASSIGN(const sys::FileInfo info, sys::StatAt(dir.upper.get(), entry.name));
      if (info.IsWhiteout()) {
        names.erase(entry.name);
      } else {
        names.insert(entry.name);
      }
    }
  }
  return std::vector<std::string>(names.begin(), names.end());
}

}  // namespace kiln::store
