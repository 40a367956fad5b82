#include "cachedb/snapshot_result.h"

#include "solver/lost.h"
#include "store/store.h"

namespace kiln::cachedb {

Result<solver::StoredResultPtr> SnapshotResult::Make(store::Store& store, store::SnapshotRef ref) {
  if (ref.is_scratch()) return solver::StoredResultPtr();
  TRY_ASSIGN(bool local, store.IsLocal(ref));
  std::set<std::string> blobs;
  if (!local) {
    TRY_ASSIGN(auto layers, store.KnownLayerBlobs(ref));
    for (const auto& layer : layers) {
      if (layer && !layer->local) blobs.insert(layer->descriptor.digest.ToString());
    }
  }
  return solver::StoredResultPtr(new SnapshotResult(std::move(ref), !local, std::move(blobs)));
}

bool SnapshotResult::Holds(const std::string& blob) const {
  return blob == ref_.id() || (lazy() && blobs_.contains(blob));
}

store::SnapshotRef RefOf(const solver::StoredResultPtr& result) {
  return result ? static_cast<const SnapshotResult&>(*result).ref() : store::SnapshotRef();
}

store::SnapshotRef RefOf(const solver::ResultHandle& handle) { return RefOf(handle.result()); }

Error ToSolverError(Error error) {
  if (!store::IsLost(error)) return error;
  const ErrorDetail* detail = error.FindDetail(store::kLostDetailType);
  return solver::LostError({detail->value}, error.ToString());
}

Status ToSolverError(Status status) {
  return status.ok() ? std::move(status) : Status(ToSolverError(std::move(status).error()));
}

}  // namespace kiln::cachedb
