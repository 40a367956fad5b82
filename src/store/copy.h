#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "progress/activity.h"
#include "store/layer_writer.h"
#include "store/tree.h"

namespace kiln::store {

// Files of a view with several names (layer, inode) → where the first of them went.
using CopiedLinks = std::map<std::pair<size_t, uint64_t>, std::string>;

struct CopyOptions {
  // moby patternmatcher patterns relative to the source; an exclusion wins. Parents of included
  // entries are made lazily.
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  std::optional<uint32_t> uid;  // unset: the source's
  std::optional<uint32_t> gid;
  std::function<mode_t(mode_t)> change_mode;  // permission bits in, permission bits out; null:
                                              // kept. Files and directories alike
  std::optional<WallTime> mtime;              // unset: the source's
  // Remove what has another type at the destination; false: error `cannot copy to non-directory: P`
  // or `cannot replace to directory P with file`.
  bool replace_existing = false;
  // Give the destination the source's own inodes where nothing differs: only for sources whose
  // files are never written in place.
  bool allow_links = false;
  // The destination directory itself, if it existed, keeps its metadata (nested ones are
  // overwritten).
  bool keep_existing_root = true;
  bool skip_sockets = false;     // below the source; else they become empty files
  bool blocks_as_chars = false;  // block devices become character devices, as upstream has it
  // Directories that `include` names without wildcards may be links to directories, which are
  // walked as if they were these: see NamedFolders.
  bool follow_named_folders = false;
  // For several copies out of one view that are one whole: hard links between them stay. Null: a
  // copy stands alone.
  CopiedLinks* links = nullptr;
};

struct CopyStats {
  uint64_t files = 0;
  uint64_t directories = 0;
  uint64_t bytes = 0;
  uint64_t linked = 0;
};

// Copies `source` (an entry of `tree`) to exactly `destination`: a file becomes that path, a
// directory's content goes below it. The destination's parent must exist. Hard links inside the
// copy stay hard links; symlinks are copied as links; sockets become empty files; a failing xattr
// is passed over. Reflinks, else copy_file_range, else read and write. Checks the activity's
// cancellation between files.
Result<CopyStats> CopyTree(const progress::Activity& activity, const TreeView& tree,
                           const TreeEntry& source, LayerWriter& writer,
                           std::string_view destination, const CopyOptions& options);

// The directories on the way to what `patterns` name, as far as they are written without wildcards:
// "a" and "a/b" of "a/b/c" and of "a/b/*/d".
std::set<std::string, std::less<>> NamedFolders(const std::vector<std::string>& patterns);

// The entries that a copy's wildcard path names, sorted: components before the first one with * ? [
// are resolved (the last of them followed only with `follow`), the rest is matched with Go
// path.Match; a matched directory is not searched for more.
Result<std::vector<TreeEntry>> MatchWildcard(const TreeView& tree, std::string_view pattern,
                                             Follow follow);

// Gives `to` the content of `from`, `size` bytes: reflink, copy_file_range, or read and write,
// whichever works.
Status CopyContent(int from, int to, uint64_t size);

}  // namespace kiln::store
