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

// `part` has less on the disk than `layer`, but is handed on as the same blobs.
Status Store::Impl::ShareBlobs(const RecordPtr& layer, const RecordPtr& part) {
  std::optional<Digest> diff_id;
  {
    MutexLock guard(layer->mutex);
    diff_id = layer->diff_id;
  }
  TRY_ASSIGN(const std::vector<BlobRow> rows, BlobRows(layer->row.num));
  if (!diff_id || rows.empty()) return OkStatus();
  {
    MutexLock guard(part->mutex);
    part->diff_id = diff_id;
  }
  TRY(database->Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update, db.Prepare("UPDATE records SET diff_id=? WHERE num=?"));
    return update.BindOptional(diff_id).Bind(part->row.num).Run();
  }));
  for (const BlobRow& row : rows) TRY(AddBlobRow(part->row.num, row.descriptor, row.compression));
  return OkStatus();
}

Result<SnapshotRef> Store::Diff(const progress::Activity& activity, const SnapshotRef& lower,
                                const SnapshotRef& upper, const CommitOptions& options) {
  if (lower.is_scratch()) return upper;
  if (lower == upper) return SnapshotRef();
  const std::vector<RecordPtr> old = ChainOf(lower.state_);
  const std::vector<RecordPtr> now = ChainOf(upper.state_);
  const bool prefix = now.size() > old.size() && std::equal(old.begin(), old.end(), now.begin());
  // As upstream has it, a single layer is handed on only if it was made on `lower` itself.
  const bool reused =
      prefix && (now.size() > old.size() + 1 || (upper.state_->row.kind == RecordKind::kLayer &&
                                                 upper.state_->parent == lower.state_));
  if (reused && lower.state_->frozen == nullptr) {
    std::vector<SnapshotRef> parts;
    for (size_t i = old.size(); i < now.size(); ++i) {
      // Each layer is a difference to what it was made on, whatever it lies on here.
      const RecordPtr& layer = now[i];
      if (layer->parent == nullptr) {
        parts.push_back(SnapshotRef(layer));
        continue;
      }
      const std::vector<RecordPtr> below = VisibleChainOf(layer->parent);
      TRY_ASSIGN(const bool pure, impl_->IsPureChange(layer, below));
      if (!pure) {
        CommitOptions commit = options;
        commit.description = layer->row.description;  // it stands for that layer
        TRY_ASSIGN(SnapshotRef part,
                   impl_->ComputeDiff(activity, below, VisibleChainOf(layer), commit));
        TRY(impl_->ShareBlobs(layer, part.state_));
        parts.push_back(std::move(part));
        continue;
      }
      TRY_ASSIGN(RecordPtr part, impl_->Insert(impl_->NewRow(RecordKind::kReused, options), nullptr,
                                               {layer->parent, layer}, options, uint64_t{0}));
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
