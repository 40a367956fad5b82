#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "store/layer_tree.h"
#include "store/lock_order.h"
#include "store/ref.h"
#include "store/root.h"

namespace kiln::store {

class NamedDirs;

// A held named directory.
struct NamedState {
  ~NamedState();
  static const std::shared_ptr<NamedState>& Of(const NamedDir& dir) { return dir.state_; }
  static NamedDir Wrap(std::shared_ptr<NamedState> state) { return NamedDir(std::move(state)); }
  // Nobody else is given it from now on (or is again).
  void Condemn(bool condemned);
  // As the directory is now.
  Result<std::shared_ptr<LayerTree>> Tree() EXCLUDES(mutex);

  NamedDirs* home = nullptr;  // null until it holds the directory
  int64_t num = 0;
  std::string id;
  std::string description;  // as its user says
  SnapshotDirs dirs;
  Sharing sharing = Sharing::kPrivate;
  bool keep_if_dirty = false;
  bool is_new = false;
  bool recorded = true;  // there is a row
  std::atomic<bool> dirty = false;
  std::atomic<bool> discard = false;
  Mutex mutex ACQUIRED_AFTER(lock_order::kRecords);
  std::shared_ptr<LayerTree> tree GUARDED_BY(mutex);
};

}  // namespace kiln::store
