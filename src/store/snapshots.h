#pragma once

#include <span>
#include <vector>

#include "store/active_state.h"
#include "store/layers.h"
#include "store/records.h"

namespace kiln::store {

// The room of snapshots that are written and committed here, and of those that are put together
// from others. Safe from any thread.
class Snapshots {
 public:
  Snapshots(Root* root, Records* records, LayerRows* rows, Views* views, Layers* layers)
      : root_(root), records_(records), rows_(rows), views_(views), layers_(layers) {}

  // As in Store.
  Result<ActiveSnapshot> Prepare(const progress::Activity& activity, const SnapshotRef& parent);
  Result<SnapshotRef> Commit(ActiveSnapshot active, const CommitOptions& options);
  Result<SnapshotRef> Merge(std::span<const SnapshotRef> inputs, const CommitOptions& options);
  Result<SnapshotRef> Diff(const progress::Activity& activity, const SnapshotRef& lower,
                           const SnapshotRef& upper, const CommitOptions& options);
  // A real layer with a frozen directory's content, made once per freeze.
  Result<SnapshotRef> SolidTwin(const progress::Activity& activity, const SnapshotRef& ref);

 private:
  Result<SnapshotRef> Solidify(const progress::Activity& activity, const SnapshotRef& ref);
  Status CommitDelta(ActiveState& state);
  Result<bool> IsPureChange(const RecordPtr& layer, const std::vector<RecordPtr>& below);
  Status ShareBlobs(const RecordPtr& layer, const RecordPtr& part);
  Result<SnapshotRef> ComputeDiff(const progress::Activity& activity,
                                  const std::vector<RecordPtr>& lower,
                                  const std::vector<RecordPtr>& upper, const CommitOptions& commit);
  Result<SnapshotRef> DiffOfLayers(const progress::Activity& activity,
                                   std::span<const RecordPtr> layers, const CommitOptions& options);

  Root* const root_;
  Records* const records_;
  LayerRows* const rows_;
  Views* const views_;
  Layers* const layers_;
  KeyedGate gate_;  // one solid twin of a directory at a time
};

}  // namespace kiln::store
