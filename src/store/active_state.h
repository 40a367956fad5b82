#pragma once

#include <memory>
#include <string>
#include <vector>

#include "store/ref.h"
#include "store/root.h"
#include "store/views.h"
#include "store/whole_tree.h"

namespace kiln::store {

// An active snapshot: a numbered directory without a row.
struct ActiveState {
  ~ActiveState();
  static ActiveState& Of(const ActiveSnapshot& active) { return *active.state_; }
  static ActiveSnapshot Wrap(std::shared_ptr<ActiveState> state) {
    return ActiveSnapshot(std::move(state));
  }
  // Makes what is mounted, where the snapshotter stacks nothing.
  Status MakeWhole(const progress::Activity& activity);
  // What the union shows: the parent and the delta.
  Result<TreeView> DeltaView(std::shared_ptr<const void> hold) const;
  SnapshotPlace place() const { return {dirs.fs, dirs.work, dirs.tree}; }

  Root* root = nullptr;
  Views* views = nullptr;
  int64_t num = 0;
  SnapshotDirs dirs;
  SnapshotRef parent;
  RecordPtr base;                       // of the parent
  std::vector<std::string> lowers;      // mount order's reverse: bottom first
  std::shared_ptr<LinkedInodes> links;  // null: nothing is linked
  std::unique_ptr<WholeTree> whole;     // counts instead of the delta, once it is there
  bool standalone = false;  // its whiteouts count whatever lies below: a computed difference
  bool committed = false;
};

}  // namespace kiln::store
