#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "filesync/entry.h"
#include "progress/activity.h"

namespace kiln::filesync {

// The bytes of a regular file: a descriptor to read from its start, or, when that is not valid,
// `data`.
struct Content {
  Fd fd;
  std::string data;
};

// A directory tree that can be sent. Walk is called once; Open from several threads, also during
// the walk.
class Tree {
 public:
  using Visitor = std::function<Status(const Entry&)>;

  virtual ~Tree() = default;
  // Calls `visit` for every entry in wire order, the root left out. Stops at the first error.
  virtual Status Walk(const progress::Activity& activity, const Visitor& visit) = 0;
  // Of an entry that was visited and is regular.
  virtual Result<Content> Open(const Entry& entry) = 0;
};

struct FolderOptions {
  std::vector<std::string> include;  // none: everything
  std::vector<std::string> exclude;
  // Paths whose symlinks are resolved inside the folder, every step of the way being included;
  // wildcards allowed.
  std::vector<std::string> follow_paths;
  // All entries are listed with uid and gid 0.
  bool reset_owner = false;
  // Regular files are listed with the time of their last change, for receivers that compare it.
  bool tell_changes = false;
  // All entries are listed with this time.
  std::optional<int64_t> mtime_ns;
};

// A folder on disk. Directories on the way to something included are listed even if they match no
// pattern.
Result<std::unique_ptr<Tree>> OpenFolder(Fd root, FolderOptions options);

// A file, directory or link that is on no disk.
struct VirtualFile {
  Entry entry;
  std::string data;
};

// `base` (may be null) with `files` put in, whose parent directories must be in either. A path in
// both is an error.
std::unique_ptr<Tree> AddFiles(std::unique_ptr<Tree> base, std::vector<VirtualFile> files);

// Several trees, each below a top-level directory of its own whose entry is `first` (a directory;
// path = its name).
std::unique_ptr<Tree> Subfolders(std::vector<std::pair<Entry, std::unique_ptr<Tree>>> parts);

}  // namespace kiln::filesync
