#pragma once

#include <atomic>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "base/pool.h"
#include "store/blob_store.h"
#include "store/janitor.h"
#include "store/keyed_gate.h"
#include "store/record.h"
#include "store/sqlite.h"
#include "store/store.h"
#include "store/whole_tree.h"

namespace kiln::store {

// Directories of one snapshot number.
struct SnapshotDirs {
  std::string top;    // snapshots/N
  std::string fs;     // snapshots/N/fs
  std::string work;   // snapshots/N/work
  std::string tree;   // snapshots/N/tree
  std::string index;  // snapshots/N/index
  std::string links;  // snapshots/N/links
};

// An active snapshot: a numbered directory without a row.
struct ActiveState {
  ~ActiveState();
  static ActiveState& Of(const ActiveSnapshot& active) { return *active.state_; }
  // Makes what is mounted, where the snapshotter stacks nothing.
  Status MakeWhole(const progress::Activity& activity);
  // What the union shows: the parent and the delta.
  Result<TreeView> DeltaView(std::shared_ptr<const void> hold) const;
  SnapshotPlace place() const { return {dirs.fs, dirs.work, dirs.tree}; }
  Store::Impl* store = nullptr;
  int64_t num = 0;
  SnapshotDirs dirs;
  SnapshotRef parent;
  RecordPtr base;                       // of the parent
  std::vector<std::string> lowers;      // mount order's reverse: bottom first
  std::shared_ptr<LinkedInodes> links;  // null: nothing is linked
  std::unique_ptr<WholeTree> whole;     // counts instead of the delta, once it is there
  bool standalone = false;  // its whiteouts count whatever lies below: a computed difference
  bool committed = false;
};

// A held named directory.
struct NamedState {
  ~NamedState();
  // Nobody else is given it from now on (or is again).
  void Condemn(bool condemned);

  Store::Impl* store = nullptr;
  int64_t num = 0;
  std::string id;
  std::string description;  // as its user says
  SnapshotDirs dirs;
  Sharing sharing = Sharing::kPrivate;
  bool keep_if_dirty = false;
  bool is_new = false;
  std::atomic<bool> dirty = false;
  std::atomic<bool> discard = false;
  Mutex mutex;
  std::shared_ptr<LayerTree> tree GUARDED_BY(mutex);
};

// One LayerTree per layer, kept while used or recently used.
class IndexCache {
 public:
  // Of those that nobody uses: each holds up to five directories open.
  static constexpr size_t kMaxIdle = 256;
  explicit IndexCache(size_t limit_bytes) : limit_bytes_(limit_bytes) {}
  Result<std::shared_ptr<LayerTree>> Get(int64_t num, const SnapshotDirs& dirs);
  void Put(int64_t num, const SnapshotDirs& dirs, std::shared_ptr<LayerTree> tree);
  void Forget(int64_t num);
  // Saves what was learnt; drops what nobody uses until the limit (or 0, if `all`) is met.
  void Trim(bool all);

 private:
  struct Slot {
    std::shared_ptr<LayerTree> tree;
    std::string index_file;
    uint64_t used = 0;
  };
  // Saves all; drops what was used least lately until at most that much is left.
  void TrimLocked(size_t limit_bytes, size_t limit_count) REQUIRES(mutex_);

  const size_t limit_bytes_;
  Mutex mutex_;
  std::unordered_map<int64_t, Slot> slots_ GUARDED_BY(mutex_);
  uint64_t clock_ GUARDED_BY(mutex_) = 0;
};

struct Store::Impl {
  // --- fixed after Open
  // -------------------------------------------------------------------------------------------------
  StoreOptions options;
  std::string root;
  SystemClock system_clock;
  const Clock* clock = nullptr;
  Fd lock;
  Fd root_dir;
  std::unique_ptr<Snapshotter> snapshotter;
  std::map<std::string, BlobSource*, std::less<>> blob_sources;
  std::function<void(std::span<const std::string>)> on_collected;

  // --- services, in order of making
  // --------------------------------------------------------------------------------------
  std::unique_ptr<Database> database;
  std::unique_ptr<BlobStore> blobs;
  std::unique_ptr<IndexCache> indexes;
  std::unique_ptr<WorkerPool> fetch_pool;
  std::unique_ptr<WorkerPool> cpu_pool;
  KeyedGate gate;  // one fetch, unpack, diff or flattening of a thing at a time
  std::unique_ptr<Janitor> janitor;

  bool recovered = false;  // fixed after Open
  Mutex open_mutex;
  bool open_is_durable GUARDED_BY(open_mutex) = false;

  std::atomic<int64_t> next_num{1};
  std::atomic<int64_t> next_seq{1};

  // --- holds
  // ---------------------------------------------------------------------------------------------------------------
  Mutex mutex;
  std::unordered_map<int64_t, std::weak_ptr<RecordState>> live GUARDED_BY(mutex);
  size_t live_limit GUARDED_BY(mutex) = 64;  // so many: those of `live` that are gone are taken out
  std::unordered_map<int64_t, std::weak_ptr<NamedState>> live_named GUARDED_BY(mutex);
  std::unordered_set<int64_t> doomed GUARDED_BY(mutex);  // being collected
  std::unordered_set<int64_t> condemned
      GUARDED_BY(mutex);  // named directories that go with their last holder
  uint64_t named_releases GUARDED_BY(mutex) = 0;
  uint64_t epoch_counter GUARDED_BY(mutex) = 0;  // counts dooms
  Mutex prune_mutex;
  Mutex import_mutex;
  Mutex named_mutex;
  CondVar named_changed;

  // --- open.cc
  // --------------------------------------------------------------------------------------------------------------
  Status OpenRoot();
  Status Recover();
  Status SweepOrphans(bool rebooted);
  void SweepSnapshot(const std::string& top, bool rebooted);
  void Sync();
  // Before the first change of something that stays where it is: that this store is open, and so
  // cannot be trusted blindly if the power goes, is on the disk.
  Status MakeOpenDurable();
  void Close();
  Status MakeBallast() const;
  int64_t NextSeq() { return next_seq.fetch_add(1); }
  SnapshotDirs DirsOf(int64_t num) const;
  // Renames a directory away and has it deleted in the background.
  void Trash(const std::string& path);

  // --- records.cc
  // ----------------------------------------------------------------------------------------------------------
  // A hold on the record, or null if there is none (any more).
  Result<RecordPtr> Acquire(int64_t num);
  Result<std::optional<int64_t>> FindId(const std::string& id);
  void SweepLive() REQUIRES(mutex);
  Result<RecordPtr> Insert(RecordRow row, RecordPtr parent, std::vector<RecordPtr> inputs,
                           const CommitOptions& commit, std::optional<uint64_t> size);
  Status InsertNamed(RecordRow row, const std::string& key);
  Status SetLabel(int64_t num, std::string_view name, std::string_view value);
  Result<std::string> Label(int64_t num, std::string_view name);
  RecordRow NewRow(RecordKind kind, const CommitOptions& commit) const;
  // False: held, or something stands on it.
  Result<bool> Remove(int64_t num);
  void Used(int64_t num);
  // Sets what is learnt about a layer, and the chain id if the parent's is known.
  Status LearnDiffId(const RecordPtr& record, const Digest& diff_id);
  std::optional<Digest> ChainIdOf(const RecordPtr& record);

  // --- snapshots
  // ---------------------------------------------------------------------------------------------------------------
  std::string LayerDir(const RecordPtr& record) const;
  Result<std::shared_ptr<LayerTree>> TreeOf(const RecordPtr& record);
  Result<TreeView> ViewOf(const std::vector<RecordPtr>& chain, std::shared_ptr<const void> hold);
  // What to mount, bottom first: the chain's directories, the lower part replaced by a flattened
  // one if there are too many.
  Result<std::vector<std::string>> MountDirs(const progress::Activity& activity,
                                             const RecordPtr& top);
  Result<std::string> Flatten(const progress::Activity& activity,
                              const std::vector<RecordPtr>& part, const RecordPtr& owner);
  Status CommitDelta(ActiveState& state);
  std::shared_ptr<LinkedInodes> LinksBelow(const std::vector<RecordPtr>& chain) const;
  Result<bool> IsDangling(const RecordPtr& part);
  Result<ActiveSnapshot> Prepare(const progress::Activity& activity, const SnapshotRef& parent);
  Result<SnapshotRef> Commit(ActiveSnapshot active, const CommitOptions& options);
  Status EnsureLocal(const progress::Activity& activity, const SnapshotRef& ref);
  Result<SnapshotRef> SolidTwin(const progress::Activity& activity, const SnapshotRef& ref);
  Result<std::shared_ptr<NamedState>> TakeNamed(const NamedDirOptions& wanted, bool* busy);
  Result<std::shared_ptr<NamedState>> NewNamed(const progress::Activity& activity,
                                               const NamedDirOptions& wanted);
  Status RetireNamed(const std::string& key);
  Result<SnapshotRef> Solidify(const progress::Activity& activity, const SnapshotRef& ref);

  Result<bool> IsPureChange(const RecordPtr& layer, const std::vector<RecordPtr>& below);
  Status ShareBlobs(const RecordPtr& layer, const RecordPtr& part);
  Result<SnapshotRef> ComputeDiff(const progress::Activity& activity,
                                  const std::vector<RecordPtr>& lower,
                                  const std::vector<RecordPtr>& upper, const CommitOptions& commit);

  // --- layers
  // ----------------------------------------------------------------------------------------------------------------------
  struct BlobRow {
    oci::Descriptor descriptor;
    archive::Compression compression;
  };
  // Added to the compression in the database.
  enum class BlobKind : int64_t { kLayer = 0, kClamped = 16 };
  Result<std::vector<BlobRow>> BlobRows(int64_t num, BlobKind kind = BlobKind::kLayer);
  Result<bool> IsUsable(const RecordPtr& record, const BlobRow& row);
  Result<std::vector<BlobRow>> UsableBlobRows(const RecordPtr& record);
  Result<std::vector<Locator>> LocatorsOf(const Digest& digest);
  Status AddBlobRow(int64_t num, const oci::Descriptor& descriptor,
                    archive::Compression compression, BlobKind kind = BlobKind::kLayer);
  Result<BlobRef> FetchBlob(const progress::Activity& activity, const oci::Descriptor& blob,
                            const std::string& record_id);
  Status Unpack(const progress::Activity& activity, const RecordPtr& record,
                const std::vector<RecordPtr>& below, const std::function<Status()>& below_ready);
  struct Packed {
    archive::LayerBlob made;
    BlobRef blob;
  };
  // One pass from the tar that `fill` writes to a blob.
  Result<Packed> Pack(const archive::CompressionOptions& options,
                      const std::function<Status(archive::ByteSink&)>& fill);
  // The layer's tar, from its snapshot or from a blob of it.
  Status WriteTar(const progress::Activity& activity, const RecordPtr& record,
                  std::optional<WallTime> latest, archive::ByteSink& out);
  Status CopyTar(const progress::Activity& activity, const RecordPtr& record,
                 const oci::Descriptor& from, std::optional<WallTime> latest,
                 archive::ByteSink& out);
  Result<LayerBlob> MakeLayerBlob(const progress::Activity& activity, const RecordPtr& record,
                                  const LayerBlobOptions& options);
  Result<LayerBlob> ConvertLayerBlob(const progress::Activity& activity, const RecordPtr& record,
                                     const BlobRow& from, const LayerBlobOptions& options);
  Result<std::optional<LayerBlob>> FindClampedBlob(const RecordPtr& record,
                                                   archive::Compression compression,
                                                   const std::string& epoch);
  Result<LayerBlob> ClampLayerBlob(const progress::Activity& activity, const RecordPtr& record,
                                   const LayerBlobOptions& options);
  Result<LayerBlob> OneLayerBlob(const progress::Activity& activity, const RecordPtr& record,
                                 const LayerBlobOptions& options);
  Result<LayerBlob> DescribeBlob(const RecordPtr& record, const oci::Descriptor& descriptor);

  // --- collection
  // --------------------------------------------------------------------------------------------------------------------
  struct UsageRow;
  Result<std::vector<UsageRow>> ReadUsage();
  Status Measure(std::vector<UsageRow>* rows);
  Status PruneByRule(const progress::Activity& activity, const PruneRule& rule,
                     const PrunedFn& pruned);
};

}  // namespace kiln::store
