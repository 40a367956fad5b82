#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/time.h"
#include "store/layer_writer.h"
#include "store/tree.h"
#include "store/usage.h"
#include "sys/mounts.h"

namespace kiln::store {

class Store;
struct RecordState;  // store-internal
struct ActiveState;
struct NamedState;

// What is recorded about a snapshot (or a mutable directory).
struct RecordInfo {
  std::string id;
  std::string type;
  std::string description;
  WallTime created;
  std::optional<Digest> diff_id;   // of its own layer, once known
  std::optional<Digest> chain_id;  // of the whole chain, once known
  bool local = false;              // own layer is unpacked here
};

// A counted hold on an immutable snapshot: a chain of layers, each local or lazy. Null is scratch,
// the empty tree. A value; copies share the hold; the snapshot is not collected while one lives.
// Safe from any thread; dropping the last copy never blocks on I/O.
class SnapshotRef {
 public:
  SnapshotRef() = default;
  explicit SnapshotRef(std::shared_ptr<RecordState> state)
      : state_(std::move(state)) {}  // for the store

  bool is_scratch() const { return state_ == nullptr; }
  explicit operator bool() const { return !is_scratch(); }
  // Of the record; "" for scratch. What cachedb stores and Store::Claim takes.
  const std::string& id() const;
  // True for a frozen local directory: it lives only as long as its holds and has no record that
  // can be claimed later.
  bool is_ephemeral() const;
  bool operator==(const SnapshotRef& other) const { return id() == other.id(); }
  const std::shared_ptr<RecordState>& record() const { return state_; }  // for the store

 private:
  std::shared_ptr<RecordState> state_;
};

// What Commit records.
struct CommitOptions {
  std::string type{kTypeRegular};
  std::string description;
  std::optional<WallTime> created;  // unset: now
  // For caches of sources: found again by Store::FindByLabel.
  std::map<std::string, std::string> labels;
};

// A mutable snapshot on top of a parent. Destroyed without Commit: thrown away (in the background).
// One owner at a time.
class ActiveSnapshot {
 public:
  ActiveSnapshot() = default;
  ActiveSnapshot(ActiveSnapshot&&) noexcept = default;
  ActiveSnapshot& operator=(ActiveSnapshot&&) noexcept = default;

  bool valid() const { return state_ != nullptr; }
  const SnapshotRef& parent() const;
  // Read-write. Mount it once at a time (two overlay mounts of one upper directory are undefined
  // behaviour): make one sys::MountTree and take Parts of it. Unmount before Commit. `is_volatile`
  // as for steps.
  sys::MountDescription Mount(bool is_volatile = true) const;
  // Without mounting. At most one, and not while mounted.
  Result<LayerWriter> Writer() const;
  // The delta's own directory.
  const std::string& upper_dir() const;
  // What the union shows now; for reading between changes. Not cached: make a new one after
  // changes.
  Result<TreeView> Tree() const;

 private:
  friend struct ActiveState;
  explicit ActiveSnapshot(std::shared_ptr<ActiveState> state) : state_(std::move(state)) {}
  std::shared_ptr<ActiveState> state_;
};

// Who may use a named directory at the same time.
enum class Sharing {
  kShared,   // one directory for all
  kPrivate,  // any idle one of that name, else a new one
  kLocked,   // one directory, one user: waits
};

struct NamedDirOptions {
  std::string key;  // what it is found by, "cache:<id>", "local:<name>:<hint>:<key>"
  std::string type{kTypeCacheMount};
  std::string description;
  Sharing sharing = Sharing::kPrivate;
  // What a crash in the middle of writing leaves: kept (cache mounts) or thrown away at the next
  // start (local contexts, git).
  bool keep_if_dirty = false;
  // Content of a new directory; null: empty 0755 root:root. Copied.
  SnapshotRef initial;
};

// A mutable directory that outlives builds: a cache mount, a local context, a bare git repository.
// Move-only hold; released when destroyed.
class NamedDir {
 public:
  NamedDir() = default;
  NamedDir(NamedDir&&) noexcept = default;
  NamedDir& operator=(NamedDir&&) noexcept = default;

  bool valid() const { return state_ != nullptr; }
  const std::string& id() const;
  // Nothing was ever written by an earlier holder.
  bool is_new() const;
  const std::string& path() const;
  sys::MountDescription Mount(bool readonly = false) const;
  // Before the first write, unless keep_if_dirty: a crash from here on discards the directory.
  Status MarkDirty();
  // After the last: what is there now is whole.
  Status MarkClean();
  // Small texts kept with the directory ("" erases); for the owner's bookkeeping.
  Status SetLabel(const std::string& name, const std::string& value);
  Result<std::string> Label(const std::string& name) const;
  // The directory is damaged or no longer wanted: gone when this hold is.
  void Discard();

  // The directory's index, for those who keep it while writing (exclusive holders only). Starts as
  // saved, or empty and complete for a new directory, or nullptr-free but unread for one without a
  // saved index. Saved by MarkClean.
  Result<std::shared_ptr<LayerTree>> Index();

 private:
  friend struct NamedState;
  explicit NamedDir(std::shared_ptr<NamedState> state) : state_(std::move(state)) {}
  std::shared_ptr<NamedState> state_;
};

}  // namespace kiln::store
