#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "progress/activity.h"
#include "store/layer_writer.h"
#include "store/tree.h"

namespace kiln::store {

// What a union shows as one directory of its own, for steps to write into where nothing can be
// stacked, and what they changed in it. Nothing in it is linked to anything outside.
class WholeTree {
 public:
  // Makes `directory`; an error leaves it, for the caller to remove.
  static Result<std::unique_ptr<WholeTree>> Make(const progress::Activity& activity,
                                                 const TreeView& view, std::string directory,
                                                 const sys::Privileges& privileges);

  const std::string& directory() const { return directory_; }
  Result<LayerWriter> Writer() const;
  // As it is now.
  Result<TreeView> Tree() const;
  // What is other than in `lower` now, as a delta. What kept inode, name and change time since Make
  // was not touched, and is not read again.
  Status WriteChanges(const progress::Activity& activity, const TreeView& lower,
                      LayerWriter& delta) const;

 private:
  WholeTree(std::string directory, const sys::Privileges& privileges)
      : directory_(std::move(directory)), privileges_(privileges) {}
  Status Remember();

  struct Mark {
    uint64_t inode = 0;
    WallTime changed;
  };
  const std::string directory_;
  const sys::Privileges privileges_;
  std::unordered_map<std::string, Mark> made_;  // by path, as TreeEntry has it
};

}  // namespace kiln::store
