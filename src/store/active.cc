#include "base/log.h"
#include "store/active_mount.h"
#include "store/active_state.h"

namespace kiln::store {

ActiveState::~ActiveState() {
  if (!committed) root->Trash(dirs.top);
}

const SnapshotRef& ActiveSnapshot::parent() const { return state_->parent; }
const std::string& ActiveSnapshot::upper_dir() const { return state_->dirs.fs; }

Result<TreeView> ActiveState::DeltaView(std::shared_ptr<const void> hold) const {
  std::vector<std::shared_ptr<const LayerTree>> trees;
  for (const RecordPtr& record : VisibleChainOf(base)) {
    TRY_ASSIGN(std::shared_ptr<LayerTree> tree, views->TreeOf(record));
    trees.push_back(std::move(tree));
  }
  TRY_ASSIGN(sys::RootedPath delta, sys::RootedPath::Open(dirs.fs));
  trees.push_back(std::make_shared<LayerTree>(std::move(delta)));
  return TreeView(std::move(trees), std::move(hold));
}

Status ActiveState::MakeWhole(const progress::Activity& activity) {
  if (views->snapshotter().stacks() || whole != nullptr) return OkStatus();
  TRY_ASSIGN(const TreeView view, DeltaView(nullptr));
  auto made = WholeTree::Make(activity, view, dirs.tree, root->options().privileges);
  if (!made.ok()) {
    root->Trash(dirs.tree);
    return std::move(made).error();
  }
  whole = std::move(*made);
  return OkStatus();
}

Result<sys::MountDescription> MountActive(const progress::Activity& activity,
                                          const ActiveSnapshot& active, bool is_volatile) {
  TRY(ActiveState::Of(active).MakeWhole(activity));
  return active.Mount(is_volatile);
}

sys::MountDescription ActiveSnapshot::Mount(bool is_volatile) const {
  // What could not be made is not there to be mounted.
  if (const Status made = state_->MakeWhole(progress::Activity()); !made.ok())
    LOG_WARNING("{}", made.error());
  return state_->views->snapshotter().MountActive(state_->place(), state_->lowers, is_volatile);
}

Result<LayerWriter> ActiveSnapshot::Writer() const {
  if (state_->whole != nullptr) return state_->whole->Writer();
  const RecordPtr parent = state_->parent.record();
  TRY_ASSIGN(TreeView lower, state_->views->ViewOf(VisibleChainOf(parent), parent));
  TRY_ASSIGN(sys::RootedPath upper, sys::RootedPath::Open(state_->dirs.fs));
  return LayerWriter(std::move(lower), std::move(upper),
                     {state_->root->options().privileges, state_->links});
}

Result<TreeView> ActiveSnapshot::Tree() const {
  if (state_->whole != nullptr) return state_->whole->Tree();
  return state_->DeltaView(state_);
}

}  // namespace kiln::store
