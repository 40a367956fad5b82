#include "store/copy.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/glob.h"
#include "base/pattern_matcher.h"
#include "base/strings.h"
#include "store/layer_writer_internal.h"

namespace kiln::store {
namespace {

constexpr uint64_t kSmallFile = 64 << 10;
constexpr size_t kCopyBytes = 128 << 10;

Status CopyByReading(int from, int to) {
  thread_local std::vector<char> buffer(kCopyBytes);
  while (true) {
    TRY_ASSIGN(const size_t count, ReadSome(from, buffer.data(), buffer.size()));
    if (count == 0) return OkStatus();
    TRY(WriteAll(to, {buffer.data(), count}));
  }
}

// A directory of the source on the way to where the copy stands; made at the destination when
// something in it is taken.
struct Level {
  Level* parent = nullptr;
  const TreeEntry* source = nullptr;
  std::string name;  // at the destination
  std::optional<WriterDir> dir;
  bool selected = true;  // itself, not only something in it
  bool created = false;
  bool keeps_meta = false;
  NodeMeta meta;
  PatternMatcher::MatchInfo include;
  PatternMatcher::MatchInfo exclude;
};

class Copier {
 public:
  Copier(const progress::Activity& activity, const TreeView& tree, LayerWriter& writer,
         const CopyOptions& options)
      : activity_(activity),
        tree_(tree),
        writer_(writer),
        options_(options),
        copied_(options.links != nullptr ? *options.links : own_links_) {}

  Result<CopyStats> Run(const TreeEntry& source, std::string_view destination) {
    if (!options_.include.empty()) {
      TRY_ASSIGN_CTX(include_, PatternMatcher::Create(options_.include), "include patterns");
      if (options_.follow_named_folders) named_folders_ = NamedFolders(options_.include);
    }
    if (!options_.exclude.empty()) {
      TRY_ASSIGN_CTX(exclude_, PatternMatcher::Create(options_.exclude), "exclude patterns");
    }
    const std::string clean = CleanAbsolute(destination);
    if (source.node->IsDirectory()) {
      TRY(CopyRoot(source, clean));
    } else {
      if (clean == "/") return FailedPrecondition("cannot replace to directory / with file");
      TRY_ASSIGN_CTX(WriterDir parent, writer_.OpenDir(DirName(clean)), "failed to stat {}",
                     DirName(clean));
      TRY(MakeRoom(parent, BaseName(clean), false));
      TRY(CopyLeaf(source, parent, BaseName(clean)));
    }
    return stats_;
  }

 private:
  Status CopyRoot(const TreeEntry& source, const std::string& destination) {
    Level root;
    root.source = &source;
    Level above;
    if (destination == "/") {
      TRY_ASSIGN(root.dir, writer_.OpenDir("/"));
      root.keeps_meta = options_.keep_existing_root;
    } else {
      TRY_ASSIGN_CTX(above.dir, writer_.OpenDir(DirName(destination)), "failed to stat {}",
                     DirName(destination));
      root.parent = &above;
      root.name = BaseName(destination);
    }
    if (!root.keeps_meta) {
      TRY_ASSIGN(root.meta, MetaFor(source));
    }
    // What is named is made even if the patterns select nothing in it.
    TRY(Ensure(root));
    TRY(CopyChildren(root, ""));
    return Finish(root);
  }

  // Makes the destination directory of `level`, and those above it.
  Status Ensure(Level& level) {
    if (level.dir) return OkStatus();
    TRY(Ensure(*level.parent));
    TRY(MakeRoom(*level.parent->dir, level.name, true));
    if (!level.selected) TRY(KeepOwner(level));
    TRY_ASSIGN(level.dir,
               writer_.EnterDir(*level.parent->dir, level.name, level.meta, &level.created));
    if (level.created) ++stats_.directories;
    const bool top = level.parent->source == nullptr;
    level.keeps_meta = !level.created && top && options_.keep_existing_root;
    return OkStatus();
  }

  // Of a directory that is there already and only passed through, upstream changes the mode alone.
  Status KeepOwner(Level& level) {
    if (level.parent->dir->fresh) return OkStatus();
    TRY_ASSIGN(const auto entry, writer_.StatIn(*level.parent->dir, level.name));
    if (!entry || !entry->info.IsDirectory()) return OkStatus();
    level.meta = {.mode = level.source->node->mode & 07777,
                  .uid = entry->info.uid,
                  .gid = entry->info.gid,
                  .mtime = entry->info.mtime};
    TRY_ASSIGN(level.meta.xattrs, writer_.Xattrs(*entry));
    return OkStatus();
  }

  Status Finish(Level& level) {
    if (!level.dir) return OkStatus();
    if (level.keeps_meta) return FinishKept(level);
    return writer_.FinishDir(*level.dir, level.meta);
  }

  // What was there keeps all but its time, as upstream has it: what COPY makes of a folder does not
  // depend on when.
  Status FinishKept(const Level& level) {
    if (level.dir->path == "/") return OkStatus();
    TRY_ASSIGN(const auto entry, writer_.Stat(level.dir->path));
    if (!entry) return OkStatus();
    NodeMeta meta{.mode = entry->info.mode & 07777,
                  .uid = entry->info.uid,
                  .gid = entry->info.gid,
                  .mtime = HeadFor(*level.source->node).mtime};
    TRY_ASSIGN(meta.xattrs, writer_.Xattrs(*entry));
    return writer_.SetMeta(level.dir->path, meta);
  }

  // Where replacing is asked for, what has another type goes.
  Status MakeRoom(WriterDir& dir, const std::string& name, bool for_directory) {
    if (!options_.replace_existing || dir.fresh) return OkStatus();
    TRY_ASSIGN(const auto existing, writer_.StatIn(dir, name));
    if (!existing || existing->info.IsDirectory() == for_directory) return OkStatus();
    return writer_.RemoveIn(dir, name);
  }

  Status CopyChildren(Level& level, const std::string& relative) {
    TRY(activity_.Check());
    TRY_ASSIGN(const std::vector<TreeEntry> children, tree_.Children(*level.source));
    for (const TreeEntry& child : children) {
      const std::string path =
          relative.empty() ? child.node->name : relative + "/" + child.node->name;
      if (child.node->IsDirectory()) {
        TRY(CopyDirectory(child, child.node->name, level, path));
        continue;
      }
      if (child.node->IsSymlink() && named_folders_.contains(path)) {
        TRY_ASSIGN(const bool copied, CopyNamedFolder(child, level, path));
        if (copied) continue;
      }
      if (options_.skip_sockets && S_ISSOCK(child.node->mode)) continue;
      PatternMatcher::MatchInfo include;
      PatternMatcher::MatchInfo exclude;
      if (!Selects(path, level, &include, &exclude)) continue;
      TRY(Ensure(level));
      TRY(MakeRoom(*level.dir, child.node->name, false));
      TRY(CopyLeaf(child, *level.dir, child.node->name));
    }
    return OkStatus();
  }

  // A link that stands where a pattern has a directory on its way. False: it leads to none.
  Result<bool> CopyNamedFolder(const TreeEntry& link, Level& level, const std::string& path) {
    auto target = tree_.Lookup(link.path, Follow::kYes);
    if (!target.ok() && target.error().code() != Code::kNotFound) return std::move(target).error();
    if (!target.ok() || !target->node->IsDirectory()) return false;
    TRY(CopyDirectory(*target, link.node->name, level, path));
    return true;
  }

  Status CopyDirectory(const TreeEntry& source, const std::string& name, Level& parent,
                       const std::string& path) {
    Level level;
    level.parent = &parent;
    level.source = &source;
    level.name = name;
    level.selected = Selects(path, parent, &level.include, &level.exclude);
    if (!level.selected && !MayHoldSelected(path, level)) return OkStatus();
    TRY_ASSIGN(level.meta, MetaFor(source));
    if (level.selected) {
      TRY(Ensure(level));
    }
    TRY(CopyChildren(level, path));
    return Finish(level);
  }

  bool Selects(const std::string& path, const Level& parent, PatternMatcher::MatchInfo* include,
               PatternMatcher::MatchInfo* exclude) const {
    const bool in = !include_ || include_->Matches(path, &parent.include, include);
    const bool out = exclude_ && exclude_->Matches(path, &parent.exclude, exclude);
    return in && !out;
  }

  bool MayHoldSelected(const std::string& path, const Level& level) const {
    (void)level;
    if (exclude_ && exclude_->MatchesOrParentMatches(path) &&
        !exclude_->ExceptionCouldMatchBelow(path))
      return false;
    return !include_ || include_->MatchesOrParentMatches(path) || include_->CouldMatchBelow(path);
  }

  // All but the attributes.
  NodeMeta HeadFor(const TreeNode& node) const {
    NodeMeta meta;
    meta.mode = node.mode & 07777;
    if (options_.change_mode != nullptr && !node.IsSymlink()) {
      meta.mode = options_.change_mode(meta.mode) & 07777;
    }
    meta.uid = options_.uid.value_or(node.uid);
    meta.gid = options_.gid.value_or(node.gid);
    meta.mtime = options_.mtime.value_or(FromUnixNanos(node.mtime_ns));
    return meta;
  }

  Result<NodeMeta> MetaFor(const TreeEntry& source) const {
    NodeMeta meta = HeadFor(*source.node);
    TRY_ASSIGN(meta.xattrs, tree_.Xattrs(source));
    return meta;
  }

  Status CopyLeaf(const TreeEntry& source, WriterDir& dir, const std::string& name) {
    TRY(activity_.Check());
    const TreeNode& node = *source.node;
    ++stats_.files;
    if (!node.IsRegular()) return PutSpecial(source, dir, name);
    const std::pair<size_t, uint64_t> inode(source.layer, node.ino);
    if (node.nlink > 1) {
      const auto earlier = copied_.find(inode);
      if (earlier != copied_.end()) return writer_.PutHardLink(dir, name, earlier->second);
    }
    TRY(PutRegular(source, dir, name));
    if (node.nlink > 1) copied_.emplace(inode, (dir.path == "/" ? "" : dir.path) + "/" + name);
    return OkStatus();
  }

  Status PutSpecial(const TreeEntry& source, WriterDir& dir, const std::string& name) {
    const TreeNode& node = *source.node;
    TRY_ASSIGN(const NodeMeta meta, MetaFor(source));
    switch (node.mode & S_IFMT) {
      case S_IFLNK:
        return writer_.PutSymlink(dir, name, node.link_target, meta);
      case S_IFSOCK:
        return writer_.PutData(dir, name, "", meta);
      case S_IFBLK:
        return writer_.PutNode(dir, name, options_.blocks_as_chars ? S_IFCHR : S_IFBLK, node.rdev,
                               meta);
      default:
        return writer_.PutNode(dir, name, node.mode, node.rdev, meta);
    }
  }

  Status PutRegular(const TreeEntry& source, WriterDir& dir, const std::string& name) {
    const TreeNode& node = *source.node;
    NodeMeta meta = HeadFor(node);
    if (options_.allow_links && Unchanged(node, meta)) {
      TRY_ASSIGN(const bool linked, Link(source, dir, name));
      if (linked) return OkStatus();
    }
    TRY_ASSIGN(const Fd content, tree_.Open(source));
    TRY_ASSIGN(meta.xattrs, FileXattrs(content.get()));
    stats_.bytes += node.size;
    return writer_.PutFile(dir, name, content.get(), node.size, meta);
  }

  static bool Unchanged(const TreeNode& node, const NodeMeta& meta) {
    return meta.mode == (node.mode & 07777) && meta.uid == node.uid && meta.gid == node.gid &&
           meta.mtime == FromUnixNanos(node.mtime_ns);
  }

  // The source's directory stays open between files of one directory.
  Result<bool> Link(const TreeEntry& source, WriterDir& dir, const std::string& name) {
    const size_t slash = source.path.rfind('/');
    const std::string_view parent = std::string_view(source.path).substr(0, slash);
    if (!link_dir_.valid() || link_parent_ != parent || link_layer_ != source.layer) {
      TRY_ASSIGN(link_dir_, tree_.layer(source.layer).directory().OpenDir(parent));
      link_parent_ = parent;
      link_layer_ = source.layer;
    }
    TRY_ASSIGN(const bool linked,
               writer_.PutInode(dir, name, link_dir_.get(), source.path.substr(slash + 1),
                                source.node->ino));
    if (linked) ++stats_.linked;
    return linked;
  }

  const progress::Activity& activity_;
  const TreeView& tree_;
  LayerWriter& writer_;
  const CopyOptions& options_;
  std::optional<PatternMatcher> include_;
  std::optional<PatternMatcher> exclude_;
  std::set<std::string, std::less<>> named_folders_;
  CopyStats stats_;
  CopiedLinks own_links_;
  CopiedLinks& copied_;
  Fd link_dir_;
  std::string link_parent_;
  size_t link_layer_ = 0;
};

Status MatchBelow(const TreeView& tree, const TreeEntry& dir, const std::string& relative,
                  std::string_view pattern, size_t depth_left, std::vector<TreeEntry>* matches) {
  TRY_ASSIGN(const std::vector<TreeEntry> children, tree.Children(dir));
  for (const TreeEntry& child : children) {
    const std::string path =
        relative.empty() ? child.node->name : relative + "/" + child.node->name;
    TRY_ASSIGN(const bool matched, GlobMatch(pattern, path));
    if (matched) {
      matches->push_back(child);
    } else if (child.node->IsDirectory() && depth_left > 1) {
      TRY(MatchBelow(tree, child, path, pattern, depth_left - 1, matches));
    }
  }
  return OkStatus();
}

}  // namespace

Status CopyContent(int from, int to, uint64_t size) {
  if (size < kSmallFile) return CopyByReading(from, to);
  if (ioctl(to, FICLONE, from) == 0) return OkStatus();
  uint64_t done = 0;
  while (true) {
    const ssize_t count = copy_file_range(from, nullptr, to, nullptr, size_t{1} << 30, 0);
    if (count > 0) {
      done += static_cast<uint64_t>(count);
      continue;
    }
    if (count == 0 && done > 0) return OkStatus();
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO))
      return ErrnoError(errno, "copy");
    return CopyByReading(from, to);  // from where it stopped: both offsets moved together
  }
}

Result<CopyStats> CopyTree(const progress::Activity& activity, const TreeView& tree,
                           const TreeEntry& source, LayerWriter& writer,
                           std::string_view destination, const CopyOptions& options) {
  return Copier(activity, tree, writer, options).Run(source, destination);
}

std::set<std::string, std::less<>> NamedFolders(const std::vector<std::string>& patterns) {
  std::set<std::string, std::less<>> folders;
  for (const std::string& pattern : patterns) {
    if (pattern.starts_with('!')) continue;
    const std::string clean = CleanAbsolute(pattern);
    for (size_t slash = clean.find('/', 1); slash != std::string::npos;
         slash = clean.find('/', slash + 1)) {
      const std::string_view folder = std::string_view(clean).substr(1, slash - 1);
      if (HasGlobMeta(folder) || folder.find('\\') != std::string_view::npos) break;
      folders.emplace(folder);
    }
  }
  return folders;
}

Result<std::vector<TreeEntry>> MatchWildcard(const TreeView& tree, std::string_view pattern,
                                             Follow follow) {
  std::string prefix = "/";
  std::string rest;
  size_t depth = 0;
  for (std::string_view part : Split(pattern, '/')) {
    if (part.empty() || part == ".") continue;
    if (depth == 0 && !HasGlobMeta(part)) {
      prefix.append(prefix.ends_with('/') ? "" : "/").append(part);
      continue;
    }
    rest.append(rest.empty() ? "" : "/").append(part);
    ++depth;
  }
  std::vector<TreeEntry> matches;
  auto base = tree.Lookup(prefix, follow);
  if (!base.ok() && depth > 0 && base.error().code() == Code::kNotFound) return matches;
  if (!base.ok()) return std::move(base).error();
  if (depth == 0) {
    matches.push_back(std::move(*base));
  } else if (base->node->IsDirectory()) {
    TRY(MatchBelow(tree, *base, "", rest, depth, &matches));
  }
  return matches;
}

}  // namespace kiln::store
