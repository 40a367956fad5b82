#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "base/mutex.h"
#include "store/layers.h"
#include "store/named_state.h"

namespace kiln::store {

// The room of named mutable directories: cache mounts, contexts, git repositories. Safe from any
// thread.
class NamedDirs {
 public:
  NamedDirs(Root* root, Records* records, Views* views, Layers* layers)
      : root_(root), records_(records), views_(views), layers_(layers) {}

  // Store::OpenNamedDir.
  Result<NamedDir> Open(const progress::Activity& activity, const NamedDirOptions& options)
      EXCLUDES(mutex_);
  // Store::RetireNamedDirs.
  Status Retire(const std::string& key, bool for_any_initial) EXCLUDES(mutex_);
  // Store::Freeze.
  Result<SnapshotRef> Freeze(const NamedDir& dir, bool received);
  // Removes what its last holder left dirty and could not remove, on a full disk.
  void RemoveDirty();

  Root& root() { return *root_; }
  Records& records() { return *records_; }

 private:
  friend struct NamedState;
  // Null: every directory of that name is in use in a way that excludes us, or there is none.
  Result<std::shared_ptr<NamedState>> Take(const NamedDirOptions& wanted, bool* busy)
      EXCLUDES(mutex_);
  Result<std::shared_ptr<NamedState>> Make(const progress::Activity& activity,
                                           const NamedDirOptions& wanted) EXCLUDES(mutex_);
  Status Fill(const progress::Activity& activity, const NamedState& state,
              const SnapshotRef& initial);
  Status RetireOne(int64_t num) EXCLUDES(mutex_);
  std::shared_ptr<NamedState> NewState(const RecordRow& row, const NamedDirOptions& wanted) const;
  uint64_t Releases() EXCLUDES(mutex_);
  void WaitForRelease(const progress::Activity& activity, uint64_t since) EXCLUDES(mutex_);
  // Of a holder that is gone.
  void Release(int64_t num) EXCLUDES(mutex_);

  Root* const root_;
  Records* const records_;
  Views* const views_;
  Layers* const layers_;
  // Who opens a name: the others of that name wait until it is found or made, so that two callers
  // do not make two.
  KeyedGate opening_;
  Mutex mutex_ ACQUIRED_AFTER(lock_order::kOperations) ACQUIRED_BEFORE(lock_order::kRooms);
  CondVar released_;
  uint64_t releases_ GUARDED_BY(mutex_) = 0;
  std::unordered_map<int64_t, std::weak_ptr<NamedState>> live_ GUARDED_BY(mutex_);
  // Those that go with their last holder.
  std::unordered_set<int64_t> condemned_ GUARDED_BY(mutex_);
};

}  // namespace kiln::store
