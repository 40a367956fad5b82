#pragma once

#include <atomic>
#include <set>
#include <string>

#include "base/error.h"
#include "solver/stored_result.h"
#include "store/ref.h"

namespace kiln::store {
class Store;
}

namespace kiln::cachedb {

// What ops produce and cachedb keeps: a held snapshot of the store. Safe from any thread.
class SnapshotResult final : public solver::StoredResult {
 public:
  // Reads the store (blocks). Scratch gives a null pointer, which is how the solver writes an empty
  // result.
  static Result<solver::StoredResultPtr> Make(store::Store& store, store::SnapshotRef ref);

  const store::SnapshotRef& ref() const { return ref_; }
  // Whoever made the snapshot local (Store::EnsureLocal) says so here.
  void MarkLocal() { lazy_.store(false, std::memory_order_relaxed); }

  bool lazy() const override { return lazy_.load(std::memory_order_relaxed); }
  int64_t size_bytes() const override { return 0; }
  // Named by record id, or by digest of a layer blob if that was not here when the result was made.
  bool Holds(const std::string& blob) const override;

 private:
  SnapshotResult(store::SnapshotRef ref, bool lazy, std::set<std::string> blobs)
      : ref_(std::move(ref)), lazy_(lazy), blobs_(std::move(blobs)) {}

  const store::SnapshotRef ref_;
  std::atomic<bool> lazy_;
  const std::set<std::string> blobs_;
};

// The snapshot of a result; scratch for null.
store::SnapshotRef RefOf(const solver::StoredResultPtr& result);
store::SnapshotRef RefOf(const solver::ResultHandle& handle);

// The store's "lost" as the solver's, so that the input is repaired; other errors unchanged.
Error ToSolverError(Error error);
Status ToSolverError(Status status);

}  // namespace kiln::cachedb
