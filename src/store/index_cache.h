#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "base/mutex.h"
#include "store/layer_tree.h"
#include "store/lock_order.h"
#include "store/root.h"

namespace kiln::store {

// One LayerTree per layer, kept while used or recently used.
class IndexCache {
 public:
  // Of those that nobody uses: each holds up to five directories open.
  static constexpr size_t kMaxIdle = 256;
  explicit IndexCache(size_t limit_bytes) : limit_bytes_(limit_bytes) {}
  Result<std::shared_ptr<LayerTree>> Get(int64_t num, const SnapshotDirs& dirs) EXCLUDES(mutex_);
  void Put(int64_t num, const SnapshotDirs& dirs, std::shared_ptr<LayerTree> tree) EXCLUDES(mutex_);
  void Forget(int64_t num) EXCLUDES(mutex_);
  // Saves what was learnt; drops what nobody uses until the limit (or 0, if `all`) is met.
  void Trim(bool all) EXCLUDES(mutex_);

 private:
  struct Slot {
    std::shared_ptr<LayerTree> tree;
    std::string index_file;
    uint64_t used = 0;
  };
  // Saves all; drops what was used least lately until at most that much is left.
  void TrimLocked(size_t limit_bytes, size_t limit_count) REQUIRES(mutex_);

  const size_t limit_bytes_;
  Mutex mutex_ ACQUIRED_AFTER(lock_order::kRooms) ACQUIRED_BEFORE(lock_order::kRecords);
  std::unordered_map<int64_t, Slot> slots_ GUARDED_BY(mutex_);
  uint64_t clock_ GUARDED_BY(mutex_) = 0;
};

}  // namespace kiln::store
