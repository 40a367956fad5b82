#pragma once

#include <sys/types.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/mutex.h"
#include "base/result.h"
#include "sys/file_info.h"
#include "sys/rooted_path.h"

namespace kiln::store {

// One path of one layer. Directories hold their children once someone asked for them.
struct TreeNode {
  std::string name;         // last component; "" for the root
  std::string link_target;  // of symlinks
  mode_t mode = 0;          // type and permission bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 1;
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  uint64_t rdev = 0;
  uint64_t ino = 0;
  bool opaque = false;  // an overlay directory that hides what lies below
  // Set by LayerTree, under its lock.
  mutable bool loaded = false;             // children are complete
  mutable std::vector<TreeNode> children;  // sorted bytewise by name
  mutable Digest digest;                   // entry hash (contenthash); empty: not computed

  bool IsDirectory() const { return S_ISDIR(mode); }
  bool IsRegular() const { return S_ISREG(mode); }
  bool IsSymlink() const { return S_ISLNK(mode); }
  // A char device 0:0: the path is deleted.
  bool IsWhiteout() const { return S_ISCHR(mode) && rdev == 0; }
  const TreeNode* Child(std::string_view child_name) const;
};

// What a node is, from lstat and readlink.
TreeNode NodeOf(std::string name, const sys::FileInfo& info, std::string link_target);

// Attributes of an open regular file, without the overlay's own.
Result<sys::Xattrs> FileXattrs(int fd);

// The index of one layer directory: what lies where, and the entry hash of what was hashed.
// Directories are read from disk when first asked for; saved indexes know their directories
// already. Const operations are safe from any thread; returned nodes stay valid until the next
// mutation, and layers are not mutated once views exist.
class LayerTree {
 public:
  // `root` is the layer's directory.
  explicit LayerTree(sys::RootedPath root);
  // Reads an index that Save wrote; an unreadable or foreign one is DataLoss (callers then start
  // with an empty index).
  static Result<std::shared_ptr<LayerTree>> Load(sys::RootedPath root,
                                                 const std::string& index_file);
  // Writes beside `index_file` and renames over it. Does nothing when nothing was learnt since Load
  // or Save.
  Status Save(const std::string& index_file) const;

  const sys::RootedPath& directory() const { return directory_; }
  Result<const TreeNode*> Root() const;
  // The children of a directory node of this tree at `path` ("a/b", "" for the root).
  Result<const std::vector<TreeNode>*> Children(const TreeNode& dir, std::string_view path) const;
  // The node at `path` in this layer alone, links not followed, whiteouts returned as such; null if
  // the layer says nothing.
  Result<const TreeNode*> Find(std::string_view path) const;
  // contenthash of the entry alone (header for directories); content is read at most once per layer
  // and path.
  Result<Digest> EntryDigest(const TreeNode& node, std::string_view path) const;
  // A regular file of this layer, to read.
  Result<Fd> Open(std::string_view path) const;
  // Attributes of the inode, without the overlay's own.
  Result<sys::Xattrs> Xattrs(std::string_view path) const;

  // Depth first in wire order (parents first, "/" below every other byte).
  using Visitor = std::function<Status(const std::string& path, const TreeNode& node)>;
  Status Walk(const Visitor& visit) const;

  // For the owner of a directory that is being written (a local context being received). Not while
  // anything else reads.
  //
  // Puts one entry; parents must exist. Replacing a directory by something else drops its children;
  // a directory keeps them. `digest` is the entry hash if known (EntryHasher in content_hash.h
  // makes it while the content passes).
  Status Put(std::string_view path, TreeNode node, Digest digest);
  Status Remove(std::string_view path);
  // Marks that every directory is known, so that nothing is ever read from disk (a directory filled
  // from empty).
  void SetComplete();

  size_t MemoryBytes() const;

 private:
  // The directory that holds `path`, kept open between calls for neighbours, and the last component
  // ("." for the root).
  Result<std::shared_ptr<const Fd>> DirectoryOf(std::string_view path, std::string* name) const;
  Status LoadChildren(const TreeNode& dir, std::string_view path) const REQUIRES(mutex_);
  TreeNode* FindMutable(std::string_view path);

  sys::RootedPath directory_;
  mutable Mutex mutex_;
  mutable bool root_loaded_ GUARDED_BY(mutex_) = false;
  mutable TreeNode root_ GUARDED_BY(mutex_);
  mutable bool changed_ GUARDED_BY(mutex_) = false;
  mutable size_t nodes_ GUARDED_BY(mutex_) = 0;
  bool complete_ GUARDED_BY(mutex_) = false;
  struct OpenDirectory {
    std::string path;
    std::shared_ptr<const Fd> fd;
  };
  mutable Mutex last_mutex_;
  // Several: one thread lists the tree while another reads its files.
  mutable std::array<OpenDirectory, 4> last_ GUARDED_BY(last_mutex_);
  mutable size_t next_last_ GUARDED_BY(last_mutex_) = 0;
};

}  // namespace kiln::store
