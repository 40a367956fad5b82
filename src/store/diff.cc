// The difference of two snapshots as a snapshot.
#include <algorithm>

#include "store/difference.h"
#include "store/layer_tar.h"
#include "store/snapshots.h"

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
Result<bool> Snapshots::IsPureChange(const RecordPtr& layer, const std::vector<RecordPtr>& below) {
  if (!layer->local || layer->row.standalone) return true;
  for (const RecordPtr& part : below) {
    if (!part->local) return true;  // both came as blobs
  }
  TRY_ASSIGN(const TreeView own, views_->ViewOf({layer}, layer));
  TRY_ASSIGN(const TreeView under, views_->ViewOf(below, nullptr));
  TRY_ASSIGN(const bool superfluous, Superfluous(own, under).Any());
  return !superfluous;
}

Result<SnapshotRef> Snapshots::ComputeDiff(const progress::Activity& activity,
                                           const std::vector<RecordPtr>& lower,
                                           const std::vector<RecordPtr>& upper,
                                           const CommitOptions& commit) {
  TRY_ASSIGN(const TreeView before, views_->ViewOf(lower, nullptr));
  TRY_ASSIGN(const TreeView after, views_->ViewOf(upper, nullptr));
  TRY_ASSIGN(ActiveSnapshot active, Prepare(activity, SnapshotRef()));
  ActiveState::Of(active).standalone = true;
  TRY_ASSIGN(LayerWriter writer, active.Writer());
  TRY_CTX(WriteDifference(activity, before, after, writer, {}),
          "computing the difference of two snapshots");
  return Commit(std::move(active), commit);
}

// `part` has less on the disk than `layer`, but is handed on as the same blobs.
Status Snapshots::ShareBlobs(const RecordPtr& layer, const RecordPtr& part) {
  std::optional<Digest> diff_id;
  {
    MutexLock guard(layer->mutex);
    diff_id = layer->diff_id;
  }
  TRY_ASSIGN(const std::vector<BlobRow> rows, rows_->Of(layer->row.num));
  if (!diff_id || rows.empty()) return OkStatus();
  {
    MutexLock guard(part->mutex);
    part->diff_id = diff_id;
  }
  TRY(root_->database().Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update, db.Prepare("UPDATE records SET diff_id=? WHERE num=?"));
    return update.BindOptional(diff_id).Bind(part->row.num).Run();
  }));
  for (const BlobRow& row : rows) TRY(rows_->Add(part->row.num, row.descriptor, row.compression));
  return OkStatus();
}

// Each layer is a difference to what it was made on, whatever it lies on here.
Result<SnapshotRef> Snapshots::DiffOfLayers(const progress::Activity& activity,
                                            std::span<const RecordPtr> layers,
                                            const CommitOptions& options) {
  std::vector<SnapshotRef> parts;
  for (const RecordPtr& layer : layers) {
    if (layer->parent == nullptr) {
      parts.push_back(SnapshotRef(layer));
      continue;
    }
    const std::vector<RecordPtr> below = VisibleChainOf(layer->parent);
    TRY_ASSIGN(const bool pure, IsPureChange(layer, below));
    if (!pure) {
      CommitOptions commit = options;
      commit.description = layer->row.description;  // it stands for that layer
      TRY_ASSIGN(SnapshotRef part, ComputeDiff(activity, below, VisibleChainOf(layer), commit));
      TRY(ShareBlobs(layer, part.record()));
      parts.push_back(std::move(part));
      continue;
    }
    TRY_ASSIGN(RecordPtr part,
               records_->Insert(records_->NewRow(RecordKind::kReused, options), nullptr,
                                {layer->parent, layer}, options, uint64_t{0}));
    parts.push_back(SnapshotRef(std::move(part)));
  }
  return Merge(parts, options);
}

Result<SnapshotRef> Snapshots::Diff(const progress::Activity& activity, const SnapshotRef& lower,
                                    const SnapshotRef& upper, const CommitOptions& options) {
  if (lower.is_scratch()) return upper;
  if (lower == upper) return SnapshotRef();
  const std::vector<RecordPtr> old = ChainOf(lower.record());
  const std::vector<RecordPtr> now = ChainOf(upper.record());
  const bool prefix = now.size() > old.size() && std::equal(old.begin(), old.end(), now.begin());
  // As upstream has it, a single layer is handed on only if it was made on `lower` itself.
  const bool reused =
      prefix && (now.size() > old.size() + 1 || (upper.record()->row.kind == RecordKind::kLayer &&
                                                 upper.record()->parent == lower.record()));
  if (reused && lower.record()->frozen == nullptr)
    return DiffOfLayers(activity, std::span(now).subspan(old.size()), options);
  TRY(layers_->EnsureLocal(activity, lower));
  TRY(layers_->EnsureLocal(activity, upper));
  return ComputeDiff(activity, VisibleChainOf(lower.record()), VisibleChainOf(upper.record()),
                     options);
}

}  // namespace kiln::store
