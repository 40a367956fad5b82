#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/fd.h"
#include "base/time.h"
#include "store/tree.h"
#include "sys/privileges.h"
#include "sys/rooted_path.h"

namespace kiln::store {

// What a created entry gets. Times unset: the moment of creation. `mode` is used literally,
// whatever the umask; symlinks ignore it.
struct NodeMeta {
  mode_t mode = 0;  // permission bits with setuid, setgid, sticky
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::optional<WallTime> mtime;
  std::optional<WallTime> atime;  // unset: as mtime
  sys::Xattrs xattrs;             // failures to set them are ignored, but for security.capability
};

// Inodes that layers share with a directory outside (hard links made by copies).
struct LinkedInodes {
  std::set<uint64_t> own;                // of this layer
  std::vector<std::string> below_files;  // lists of the layers below, not read yet
  std::unordered_set<uint64_t> below;    // of the parent chain, once read

  // Reads the lists.
  Status Load();
};

// A place in the union that is being written: a directory. Not in the delta until something below
// it is created.
struct WriterDir {
  std::string path;                // resolved, absolute
  Fd upper;                        // in the delta, O_RDONLY|O_DIRECTORY; invalid until materialized
  std::optional<TreeEntry> lower;  // what the layers below show there
  // Made by us just now and nothing below it: creating needs no looking.
  bool fresh = false;
};

// What stands at a path of the union: from the delta if it is there, else from the layers below.
struct WriterEntry {
  std::string path;  // resolved parent, last component as asked
  sys::FileInfo info;
  std::string link_target;
  bool in_upper = false;
  std::optional<TreeEntry> lower;  // of that path in the layers below, visible or not through
                                   // `info`; unset under opaque parents
};

// Writes into an active snapshot's delta in user space, as the kernel's overlay would: whiteouts,
// opaque directories, copied-up parents. Nothing may be mounted on the delta meanwhile. Works
// unchanged where a snapshot is a whole tree (no lower). Every path is resolved inside the union,
// component by component; a file that exists is replaced (new inode, rename), never written to, so
// that linked inodes stay as they are. Not thread-safe.
class LayerWriter {
 public:
  struct Options {
    sys::Privileges privileges;
    // Inodes shared with a local context: those of the chain below, and those this delta takes.
    // Null: never link.
    std::shared_ptr<LinkedInodes> links;
  };
  LayerWriter(TreeView lower, sys::RootedPath upper, Options options);

  // --- Looking
  // ----------------------------------------------------------------------------------------------------------------
  // Nullopt when missing.
  Result<std::optional<WriterEntry>> Stat(std::string_view path, Follow last = Follow::kNo) const;
  // Where the path leads; missing components are kept. FailedPrecondition "too many links" beyond
  // 255.
  Result<std::string> Resolve(std::string_view path, Follow last = Follow::kYes) const;
  // The same as in a chroot at directory `base`: neither links nor ".." lead out of it. What it
  // returns is a path of the union, without links but at its end.
  Result<std::string> ResolveBelow(std::string_view base, std::string_view path,
                                   Follow last = Follow::kYes) const;
  // A regular file, links followed; NotFound, FailedPrecondition if it is not one or larger than
  // `limit`.
  Result<std::string> ReadFile(std::string_view path, uint64_t limit = 64 << 20) const;
  Result<sys::Xattrs> Xattrs(const WriterEntry& entry) const;
  // Names in a directory of the union.
  Result<std::vector<std::string>> List(std::string_view path) const;

  // --- Changing by path. Parents must exist (NotFound) and are followed; the last component is
  // taken as it is. -------------------- AlreadyExists if something is there.
  Status MakeDir(std::string_view path, const NodeMeta& meta);
  // mkdir -p; `meta` applies to what is created. Returns the created directories, outermost first.
  Result<std::vector<std::string>> MakeDirs(std::string_view path, const NodeMeta& meta);
  // A regular file with these bytes, in place of any non-directory that is there.
  // FailedPrecondition over a directory.
  Status WriteFile(std::string_view path, std::string_view data, const NodeMeta& meta);
  Status Symlink(std::string_view target, std::string_view path,
                 const NodeMeta& meta);  // AlreadyExists if something is there
  // Changes an entry that exists (copied up first). Files with more than one link are replaced by a
  // copy.
  Status SetMeta(std::string_view path, const NodeMeta& meta);
  // Everything at and below. Missing is success. The root itself stays, emptied.
  Status RemoveTree(std::string_view path);

  // --- Changing by directory handle: for copies of whole trees
  // ----------------------------------------------------------------------
  Result<WriterDir> OpenDir(
      std::string_view path) const;  // links followed; FailedPrecondition if not a directory
  Result<std::optional<WriterEntry>> StatIn(const WriterDir& dir, const std::string& name) const;
  // Makes the directory, or opens the one that is there. `created` tells which. `meta` applies only
  // if created.
  Result<WriterDir> EnterDir(WriterDir& dir, const std::string& name, const NodeMeta& meta,
                             bool* created);
  // Removes whatever is at `name` (recursively), leaving a whiteout where one is needed.
  Status RemoveIn(WriterDir& dir, const std::string& name);
  // These create non-directories, replacing a non-directory that is there; FailedPrecondition over
  // a directory. `content_fd` is read from its start.
  Status PutFile(WriterDir& dir, const std::string& name, int content_fd, uint64_t size,
                 const NodeMeta& meta);
  Status PutData(WriterDir& dir, const std::string& name, std::string_view data,
                 const NodeMeta& meta);
  Status PutSymlink(WriterDir& dir, const std::string& name, std::string_view target,
                    const NodeMeta& meta);
  Status PutNode(WriterDir& dir, const std::string& name, mode_t type, dev_t device,
                 const NodeMeta& meta);
  // A second name for a file this writer made at `existing` (path in the delta).
  Status PutHardLink(WriterDir& dir, const std::string& name, std::string_view existing);
  // The very inode `source_name` of `source_dir`, if link(2) can and this chain does not hold that
  // inode yet; false: not done.
  Result<bool> PutInode(WriterDir& dir, const std::string& name, int source_dir,
                        const std::string& source_name, uint64_t inode);
  // Owner, mode, xattrs and times of a directory in the delta; to be called when its children are
  // done.
  Status FinishDir(WriterDir& dir, const NodeMeta& meta);

  const TreeView& lower() const { return lower_; }
  const sys::RootedPath& upper() const { return upper_; }

 private:
  struct Look;
  struct Resolved;

  Result<WriterDir> RootDir() const;
  Result<Look> LookAt(const WriterDir& dir, const std::string& name) const;
  Result<WriterEntry> EntryOf(const WriterDir& dir, const std::string& name,
                              const Look& look) const;
  Result<WriterDir> Descend(const WriterDir& dir, const std::string& name, const Look& look) const;
  Result<Resolved> ResolveUnion(std::string_view path, Follow last) const;
  // Goes on from where `at` stands; the directory there is the root of what follows.
  Status ResolveFrom(Resolved* at, std::string_view path, Follow last) const;
  // Takes one component that exists or not; true: it was a link, whose target is to be followed.
  Result<bool> Step(Resolved* at, const std::string& name, bool follow, std::string* target) const;
  Result<WriterDir> OpenParent(std::string_view path, std::string* name) const;
  Status Materialize(WriterDir& dir);
  Status SetOpaque(int dir, const std::string& name);
  // Makes room for a non-directory at `name`: `replace` says that the delta has something there, to
  // be renamed over.
  Status PrepareLeaf(WriterDir& dir, const std::string& name, bool* replace);
  using Create = std::function<Status(int dir, const std::string& name)>;
  Status PutLeaf(WriterDir& dir, const std::string& name, const Create& create);
  Status Recreate(WriterDir& dir, const std::string& name, const WriterEntry& entry,
                  const NodeMeta& meta);

  TreeView lower_;
  sys::RootedPath upper_;
  Options options_;
};

}  // namespace kiln::store
