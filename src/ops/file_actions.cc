#include "ops/file_actions.h"

#include <fmt/format.h>

#include <utility>

#include "base/glob.h"
#include "base/strings.h"
#include "store/copy.h"

namespace kiln::ops {
namespace {

store::NodeMeta MetaOf(int32_t mode, const std::optional<FileOwner>& owner, int64_t timestamp_ns) {
  FileOwner ids = owner.value_or(FileOwner());
  return {.mode = static_cast<mode_t>(mode) & 0777,
          .uid = ids.uid,
          .gid = ids.gid,
          .mtime = TimestampOf(timestamp_ns)};
}

// Fails as `what` ("open /a/b") if what holds `path` is not there.
Status NeedParent(const std::string& path, std::string_view what,
                  const store::LayerWriter& writer) {
  TRY_ASSIGN(auto parent, writer.Stat(DirName(path)));
  if (!parent) return NotFound("{}: no such file or directory", what);
  return OkStatus();
}

Status RemoveOne(const std::string& path, bool allow_not_found, store::LayerWriter& writer) {
  std::string clean = store::CleanAbsolute(path);
  if (clean == "/") return InvalidArgument("rmPath: invalid empty path");
  if (!allow_not_found) {
    // A link that leads nowhere is not found, as upstream has it; one that is there goes itself.
    TRY_ASSIGN(auto entry, writer.Stat(clean, store::Follow::kYes));
    if (!entry) return NotFound("stat {}: no such file or directory", clean);
  }
  return writer.RemoveTree(clean);
}

}  // namespace

std::optional<WallTime> TimestampOf(int64_t timestamp_ns) {
  if (timestamp_ns == -1) return std::nullopt;
  return WallTime(std::chrono::nanoseconds(timestamp_ns));
}

Status MakeDirectory(const pb::FileActionMkDir& action, const std::optional<FileOwner>& owner,
                     store::LayerWriter& writer) {
  store::NodeMeta meta = MetaOf(action.mode(), owner, action.timestamp());
  TRY_ASSIGN(std::string path, writer.Resolve(action.path()));
  TRY_ASSIGN(auto existing, writer.Stat(path));
  if (existing) {
    // Without makeParents anything that is there will do, as upstream has it.
    if (action.makeparents() && !existing->info.IsDirectory())
      return FailedPrecondition("mkdir {}: not a directory", action.path());
    return OkStatus();
  }
  if (!action.makeparents()) {
    TRY(NeedParent(path, fmt::format("mkdir {}", action.path()), writer));
    return writer.MakeDir(path, meta);
  }
  TRY_ASSIGN(auto created, writer.MakeDirs(path, meta));
  // Making a directory's child touched it: set its time again, innermost last touched.
  if (meta.mtime)
    for (auto directory = created.rbegin(); directory != created.rend(); ++directory)
      TRY(writer.SetMeta(*directory, meta));
  return OkStatus();
}

Status MakeFile(const pb::FileActionMkFile& action, const std::optional<FileOwner>& owner,
                store::LayerWriter& writer) {
  store::NodeMeta meta = MetaOf(action.mode(), owner, action.timestamp());
  TRY_ASSIGN(std::string path, writer.Resolve(action.path()));
  // What is there is replaced, not written to: nothing of it is kept.
  TRY_ASSIGN(auto existing, writer.Stat(path));
  if (existing && existing->info.IsDirectory())
    return FailedPrecondition("rename {}: file exists", action.path());
  TRY(NeedParent(path, fmt::format("open {}", action.path()), writer));
  return writer.WriteFile(path, action.data(), meta);
}

Status MakeSymlink(const pb::FileActionSymlink& action, const std::optional<FileOwner>& owner,
                   store::LayerWriter& writer) {
  TRY_ASSIGN(std::string path, writer.Resolve(action.newpath()));
  TRY_ASSIGN(auto existing, writer.Stat(path));
  if (existing)
    return AlreadyExists("symlink {} {}: file exists", action.oldpath(), action.newpath());
  const std::string what = fmt::format("symlink {} {}", action.oldpath(), action.newpath());
  if (action.oldpath().empty()) return NotFound("{}: no such file or directory", what);
  TRY(NeedParent(path, what, writer));
  return writer.Symlink(action.oldpath(), path, MetaOf(0777, owner, action.timestamp()));
}

Status RemovePath(const pb::FileActionRm& action,
                  const std::function<Result<store::TreeView>()>& tree,
                  store::LayerWriter& writer) {
  if (!action.allowwildcard() || !HasGlobMeta(action.path()))
    return RemoveOne(action.path(), action.allownotfound(), writer);
  TRY_ASSIGN(store::TreeView view, tree());
  TRY_ASSIGN(auto matches, store::MatchWildcard(view, action.path(), store::Follow::kNo));
  std::vector<std::string> paths;
  for (const store::TreeEntry& match : matches) paths.push_back(match.path);
  for (const std::string& path : paths) TRY(RemoveOne(path, action.allownotfound(), writer));
  return OkStatus();
}

}  // namespace kiln::ops
