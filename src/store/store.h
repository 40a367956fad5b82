#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "progress/activity.h"
#include "store/blob.h"
#include "store/layer.h"
#include "store/ref.h"
#include "store/snapshotter.h"
#include "store/usage.h"
#include "sys/privileges.h"

namespace kiln::store {

struct StoreOptions {
  std::string root;              // created 0711 if missing
  const Clock* clock = nullptr;  // null: the machine's
  std::string snapshotter = "overlayfs";
  std::string boot_id_file = "/proc/sys/kernel/random/boot_id";
  sys::Privileges privileges;
  uint64_t ballast_bytes = 1 << 20;
  uint64_t kept_free_bytes = 2 << 20;  // so much of the disk is left when blobs and layers come in
  std::chrono::milliseconds sync_delay{3000};  // from a commit to its being synced
  size_t index_memory_bytes = 64 << 20;  // layer indexes kept in memory while nobody uses them
  size_t max_mount_layers = 500;  // one overlay's limit (sys::Mounter::max_overlay_lowers); longer
                                  // chains are flattened below
};

// All data of builds under one root. One process at a time (root/lock). Methods are safe from any
// thread and may block on disk, the database or (those with an Activity) the network: never call
// them on an event loop. Durability: what a method has returned survives kill -9; after a power cut
// the store is whole but may have lost the latest results.
class Store {
 public:
  // Unavailable if another process holds root/lock; the message names the root.
  static Result<std::unique_ptr<Store>> Open(StoreOptions options);
  // All holds must be gone. Marks the stop as clean; what is not synced yet is at the next start.
  ~Store();

  const std::string& root() const;
  // Whether whoever had it open before ended without closing it: what others keep about its records
  // may then speak of some that are gone.
  bool recovered() const;
  Result<std::set<std::string>> RecordIds();

  // Blobs live as long as a hold, a layer record or a pin needs them.
  Result<BlobWriter> Ingest();
  // `expected` checked if given.
  Result<BlobRef> PutBlob(std::string_view data, std::optional<Digest> expected = std::nullopt);
  // NotFound if it is not here.
  Result<BlobRef> GetBlob(const Digest& digest);
  Result<BlobInfo> StatBlob(const Digest& digest);
  // Those that are here, by digest.
  Result<std::vector<Digest>> ListBlobs();
  // Only the named labels change; "" erases.
  Status SetBlobLabels(const Digest& digest, const std::map<std::string, std::string>& labels);
  // Adds a repository to the distribution-source label of a host.
  Status AddDistributionSource(const Digest& digest, std::string_view host,
                               std::string_view repository);
  // Keeps a blob across restarts under an owner's name, until `until` if given. History pins what
  // its records show.
  Status PinBlob(const Digest& digest, const std::string& owner,
                 std::optional<WallTime> until = std::nullopt);
  Status UnpinBlobs(const std::string& owner);

  // A snapshot on `parent` that is written, then committed. Makes the parent local first.
  Result<ActiveSnapshot> Prepare(const progress::Activity& activity, const SnapshotRef& parent);
  // Ends the active snapshot. An error leaves nothing.
  Result<SnapshotRef> Commit(ActiveSnapshot active, const CommitOptions& options);
  // A chain of layers, bottom first, as a snapshot; nothing is fetched. The same chain of diff ids
  // gives the same snapshot where that is unpacked or comes as the same blobs; what else an image
  // claims counts for that image alone. Locators are added to what is known. No layers: scratch. On
  // top of `parent` if given.
  Result<SnapshotRef> ImportChain(std::span<const LazyLayer> layers, const SnapshotRef& parent = {},
                                  const CommitOptions& options = {});
  // Layers of the inputs one above the other; lazy. Scratch inputs are dropped; none left: scratch;
  // one: itself.
  Result<SnapshotRef> Merge(std::span<const SnapshotRef> inputs, const CommitOptions& options);
  // What `upper` changes over `lower`, as a layer of its own. Lazy where it reuses a layer, else
  // needs both local.
  Result<SnapshotRef> Diff(const progress::Activity& activity, const SnapshotRef& lower,
                           const SnapshotRef& upper, const CommitOptions& options);
  // The snapshot of that chain id (OCI image-spec, config.md#layer-chainid), if all of it is
  // unpacked and so verified; scratch if there is none.
  Result<SnapshotRef> FindByChain(const Digest& chain_id);
  // Records committed with that label, newest first; each is held.
  Result<std::vector<SnapshotRef>> FindByLabel(std::string_view name, std::string_view value);
  Status SetLabel(const SnapshotRef& ref, std::string_view name, std::string_view value);
  Result<std::string> Label(const SnapshotRef& ref, std::string_view name);  // "" if unset

  Result<RecordInfo> Info(const SnapshotRef& ref);
  // Whether reading it needs no network.
  Result<bool> IsLocal(const SnapshotRef& ref);
  // Fetches and unpacks what is missing; several callers share the work, and each uses its own
  // sessions. What cannot be had: an error with kLostDetailType. Progress: items "<digest>" and
  // "extracting <digest>" on the activity's sink.
  Status EnsureLocal(const progress::Activity& activity, const SnapshotRef& ref);

  // Read-only mount; needs it local. Scratch is an empty directory.
  Result<sys::MountDescription> ViewMount(const SnapshotRef& ref);
  // Union view; needs it local. The view holds the snapshot.
  Result<TreeView> Tree(const SnapshotRef& ref);
  // Directories of the chain, bottom first (overlay).
  Result<std::vector<std::string>> LayerDirs(const SnapshotRef& ref);

  // One per layer of the chain, bottom first. Layers that have a blob (also a lazy one) keep it;
  // others are made, once per (layer, compression), whoever asks. The same content gives the same
  // bytes, in any store.
  Result<std::vector<LayerBlob>> LayerBlobs(const progress::Activity& activity,
                                            const SnapshotRef& ref,
                                            const LayerBlobOptions& options);
  // The blobs already recorded, without making any; nullopt where a layer has none.
  Result<std::vector<std::optional<LayerBlob>>> KnownLayerBlobs(const SnapshotRef& ref);
  // Makes one lazy layer blob of `ref` local and holds it. May wait for the network: take it before
  // anything that others wait for.
  Result<BlobRef> EnsureBlob(const progress::Activity& activity, const LayerBlob& layer);
  // After a push: where the blob now also lies.
  Status AddLocator(const Digest& blob, const Locator& locator);

  void AddBlobSource(std::string kind, BlobSource* source);

  // Waits (kLocked) until free, or Cancelled with the activity's reason.
  Result<NamedDir> OpenNamedDir(const progress::Activity& activity, const NamedDirOptions& options);
  // Directories of that key are not found any more: idle ones go now, used ones with their last
  // user. `for_any_initial`: also those of keys that are this one, ":" and the id of what their
  // content began as.
  Status RetireNamedDirs(const std::string& key, bool for_any_initial);
  // The directory as a snapshot: nobody writes it while the returned hold or a copy lives.
  // `received`: its root header hashes as sha256("") (local transfers). Exclusive holders only (not
  // kShared).
  Result<SnapshotRef> Freeze(NamedDir dir, bool received);
  // Of a frozen directory: its content as a layer, that stays. All else: itself.
  Result<SnapshotRef> Solid(const progress::Activity& activity, const SnapshotRef& ref);

  // A hold on a record by id; NotFound once collection has taken it. Counts as a use.
  Result<SnapshotRef> Claim(const std::string& record_id);
  // Ids that have gone, after they have gone; called with no lock held, on whichever thread
  // collected. Set once, before use.
  void OnCollected(std::function<void(std::span<const std::string> record_ids)> callback);

  // Filters as PruneRule's. `age_limit`: only records last used before now minus that (0: all).
  Result<std::vector<UsageRecord>> DiskUsage(const std::vector<std::string>& filters,
                                             std::chrono::nanoseconds age_limit = {});
  // One prune at a time; later callers wait. Afterwards blobs nothing needs are removed. Data goes
  // in the background.
  Status Prune(const progress::Activity& activity, std::span<const PruneRule> rules,
               const PrunedFn& pruned);

  // Returns when everything collected so far is off the disk.
  void WaitForDeletions();

  // Saves learnt indexes, drops those nobody uses; background syncs happen by themselves.
  void Trim();

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kiln::store
