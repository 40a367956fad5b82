#pragma once

#include <span>
#include <vector>

#include "base/mutex.h"
#include "base/pool.h"
#include "store/fetcher.h"
#include "store/records.h"
#include "store/views.h"

namespace kiln::store {

// The room of layers that come as blobs: recording them, and unpacking them when somebody wants to
// read them. Safe from any thread.
class Layers {
 public:
  Layers(Root* root, Records* records, LayerRows* rows, IndexCache* indexes, BlobStore* blobs,
         Fetcher* fetcher, Views* views)
      : root_(root),
        records_(records),
        rows_(rows),
        indexes_(indexes),
        blobs_(blobs),
        fetcher_(fetcher),
        views_(views) {}

  // Store::ImportChain.
  Result<SnapshotRef> Import(std::span<const LazyLayer> layers, const SnapshotRef& parent,
                             const CommitOptions& options) EXCLUDES(importing_);
  // Store::EnsureLocal.
  Status EnsureLocal(const progress::Activity& activity, const SnapshotRef& ref);

 private:
  // The record an image's chain has here already, or null.
  Result<RecordPtr> FindImported(const Digest& chain_id, const SnapshotRef& parent,
                                 std::span<const LazyLayer> layers) REQUIRES(importing_);
  Status Unpack(const progress::Activity& activity, const RecordPtr& record);
  Status UnpackAll(const progress::Activity& activity, const std::vector<RecordPtr>& chain);
  Status UnpackBlob(const progress::Activity& activity, const RecordPtr& record,
                    const BlobRow& row);
  Result<Digest> Extract(const progress::Activity& activity, const BlobRef& blob,
                         const std::string& temporary, const RecordPtr& record);
  Status Publish(const RecordPtr& record, const std::string& temporary);

  Root* const root_;
  Records* const records_;
  LayerRows* const rows_;
  IndexCache* const indexes_;
  BlobStore* const blobs_;
  Fetcher* const fetcher_;
  Views* const views_;
  // Held while a chain is recorded: two imports of one chain must not make it twice.
  Mutex importing_ ACQUIRED_AFTER(lock_order::kOperations) ACQUIRED_BEFORE(lock_order::kRooms);
  KeyedGate gate_;
  WorkerPool pool_{"store-fetch", 8};
};

}  // namespace kiln::store
