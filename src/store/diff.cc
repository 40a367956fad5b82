// The difference of two snapshots as a snapshot.
#include <algorithm>

#include "store/difference.h"
#include "store/layer_tar.h"
#include "store/store_impl.h"

namespace kiln::store {
namespace {

// Whether a layer has what `below` shows just so: the kernel copies up more than what a step
// changes (a file that gets a second name, say). Over that it is invisible, elsewhere it is not.
class Superfluous {
 public:
  Superfluous(const TreeView& own, const TreeView& below) : own_(own), below_(below) {}

  Result<bool> Any() const {
    TRY_ASSIGN(const TreeEntry root, own_.Root());
    TRY_ASSIGN(const TreeEntry under, below_.Root());
    return In(root, under);
  }

 private:
  Result<bool> In(const TreeEntry& dir, const TreeEntry& under) const {
    const std::string_view path = std::string_view(dir.path).substr(1);
    TRY_ASSIGN(const std::vector<TreeNode>* nodes, own_.layer(0).Children(*dir.node, path));
    for (const TreeNode& node : *nodes) {
      TRY_ASSIGN(const TreeEntry below, below_.Child(under, node.name));
      if (below.node == nullptr) {
        if (node.IsWhiteout()) return true;
        continue;
      }
      if (node.IsWhiteout()) continue;
      TRY_ASSIGN(const TreeEntry above, own_.Child(dir, node.name));
      TRY_ASSIGN(const bool found, Is(above, below));
      if (found) return true;
    }
    return false;
  }

  Result<bool> Is(const TreeEntry& above, const TreeEntry& below) const {
    if (above.node->IsDirectory() && below.node->IsDirectory()) {
      TRY_ASSIGN(const bool within, In(above, below));
      if (within) return true;
      const std::string_view path = std::string_view(above.path).substr(1);
      TRY_ASSIGN(const std::vector<TreeNode>* nodes, own_.layer(0).Children(*above.node, path));
      if (!nodes->empty()) return false;
    }
    return SameEntry(own_, above, below_, below);
  }

  const TreeView& own_;
  const TreeView& below_;
};

}  // namespace

// The layer over what it was made on can stand for the difference as it is, unless it has more.
Result<bool> Store::Impl::IsPureChange(const RecordPtr& layer,
                                       const std::vector<RecordPtr>& below) {
  if (!layer->local || layer->row.standalone) return true;
  for (const RecordPtr& part : below) {
    if (!part->local) return true;  // both came as blobs
  }
  TRY_ASSIGN(const TreeView own, ViewOf({layer}, layer));
  TRY_ASSIGN(const TreeView under, ViewOf(below, nullptr));
  TRY_ASSIGN(const bool superfluous, Superfluous(own, under).Any());
  return !superfluous;
}

Result<SnapshotRef> Store::Impl::ComputeDiff(const progress::Activity& activity,
                                             const std::vector<RecordPtr>& lower,
                                             const std::vector<RecordPtr>& upper,
                                             const CommitOptions& commit) {
  TRY_ASSIGN(const TreeView before, ViewOf(lower, nullptr));
  TRY_ASSIGN(const TreeView after, ViewOf(upper, nullptr));
  TRY_ASSIGN(ActiveSnapshot active, Prepare(activity, SnapshotRef()));
  active.state_->standalone = true;
  TRY_ASSIGN(LayerWriter writer, active.Writer());
  TRY_CTX(WriteDifference(activity, before, after, writer, {}),
          "computing the difference of two snapshots");
  return Commit(std::move(active), commit);
}

namespace {

std::vector<RecordPtr> Visible(const std::vector<RecordPtr>& chain, size_t count) {
  std::vector<RecordPtr> visible;
  for (size_t i = count; i-- > 0;) {
    if (std::find(visible.begin(), visible.end(), chain[i]) == visible.end())
      visible.push_back(chain[i]);
  }
  std::reverse(visible.begin(), visible.end());
  return visible;
}

}  // namespace

Result<SnapshotRef> Store::Diff(const progress::Activity& activity, const SnapshotRef& lower,
                                const SnapshotRef& upper, const CommitOptions& options) {
  if (lower.is_scratch()) return upper;
  if (lower == upper) return SnapshotRef();
  const std::vector<RecordPtr> old = ChainOf(lower.state_);
  const std::vector<RecordPtr> now = ChainOf(upper.state_);
  const bool prefix = now.size() > old.size() && std::equal(old.begin(), old.end(), now.begin());
  if (prefix && lower.state_->frozen == nullptr) {
    std::vector<SnapshotRef> parts;
    for (size_t i = old.size(); i < now.size(); ++i) {
      const std::vector<RecordPtr> below = Visible(now, i);
      TRY_ASSIGN(const bool pure, impl_->IsPureChange(now[i], below));
      if (!pure) {
        CommitOptions commit = options;
        commit.description = now[i]->row.description;  // it stands for that layer
        TRY_ASSIGN(SnapshotRef part,
                   impl_->ComputeDiff(activity, below, Visible(now, i + 1), commit));
        parts.push_back(std::move(part));
        continue;
      }
      std::vector<RecordPtr> inputs{i == 0 ? lower.state_ : now[i - 1], now[i]};
      TRY_ASSIGN(RecordPtr part, impl_->Insert(impl_->NewRow(RecordKind::kReused, options), nullptr,
                                               std::move(inputs), options, uint64_t{0}));
      parts.push_back(SnapshotRef(std::move(part)));
    }
    return Merge(parts, options);
  }
  TRY(EnsureLocal(activity, lower));
  TRY(EnsureLocal(activity, upper));
  return impl_->ComputeDiff(activity, VisibleChainOf(lower.state_), VisibleChainOf(upper.state_),
                            options);
}

}  // namespace kiln::store
