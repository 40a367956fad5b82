#include "store/index_cache.h"

#include <algorithm>

#include "base/log.h"

namespace kiln::store {

Result<std::shared_ptr<LayerTree>> IndexCache::Get(int64_t num, const SnapshotDirs& dirs) {
  MutexLock lock(mutex_);
  // For newcomers only, and not one by one: each trim looks at all of them.
  if (slots_.size() >= 2 * kMaxIdle && !slots_.contains(num)) TrimLocked(limit_bytes_, kMaxIdle);
  Slot& slot = slots_[num];
  slot.used = ++clock_;
  if (slot.tree != nullptr) return slot.tree;
  auto root = sys::RootedPath::Open(dirs.fs);
  if (!root.ok()) {
    slots_.erase(num);
    return std::move(root).error();
  }
  auto saved = LayerTree::Load(*root, dirs.index);
  slot.tree = saved.ok() ? std::move(*saved) : std::make_shared<LayerTree>(std::move(*root));
  slot.index_file = dirs.index;
  return slot.tree;
}

void IndexCache::Put(int64_t num, const SnapshotDirs& dirs, std::shared_ptr<LayerTree> tree) {
  MutexLock lock(mutex_);
  slots_[num] = Slot{std::move(tree), dirs.index, ++clock_};
}

void IndexCache::Forget(int64_t num) {
  MutexLock lock(mutex_);
  slots_.erase(num);
}

void IndexCache::Trim(bool all) {
  MutexLock lock(mutex_);
  TrimLocked(all ? 0 : limit_bytes_, all ? 0 : kMaxIdle);
}

void IndexCache::TrimLocked(size_t limit_bytes, size_t limit_count) {
  size_t total = 0;
  std::vector<std::pair<uint64_t, int64_t>> by_use;
  for (const auto& [num, slot] : slots_) {
    total += slot.tree->MemoryBytes();
    by_use.emplace_back(slot.used, num);
    if (Status saved = slot.tree->Save(slot.index_file); !saved.ok())
      LOG_WARNING("saving a layer index: {}", saved.error());
  }
  std::sort(by_use.begin(), by_use.end());
  for (const auto& [used, num] : by_use) {
    if (total <= limit_bytes && slots_.size() <= limit_count) break;
    const auto slot = slots_.find(num);
    if (slot->second.tree.use_count() > 1) continue;
    total -= std::min(total, slot->second.tree->MemoryBytes());
    slots_.erase(slot);
  }
}

}  // namespace kiln::store
