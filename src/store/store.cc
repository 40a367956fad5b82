// What the store offers, handed to its rooms.
#include "store/store.h"

#include "base/log.h"
#include "base/strings.h"
#include "store/collection.h"
#include "store/layer_blobs.h"
#include "store/named_dirs.h"
#include "store/recover.h"

namespace kiln::store {

// The rooms, each on those above it.
struct Store::Impl {
  explicit Impl(StoreOptions options)
      : root(std::move(options)), indexes(root.options().index_memory_bytes) {}
  ~Impl() {
    if (ready) named.RemoveDirty();
    indexes.Trim(true);
    if (!ready || !root.troubled()) return;
    if (Status swept = SweepOrphans(root); !swept.ok())
      LOG_WARNING("sweeping {}: {}", root.path(), swept.error());
    root.janitor().Drain();
  }
  Status Open() {
    TRY(root.Open());
    TRY_ASSIGN(recovered, Recover(root));
    TRY(root.MakeBallast());
    root.MarkReady();
    ready = true;
    return OkStatus();
  }

  Root root;
  IndexCache indexes;
  Records records{&root, &indexes};
  BlobStore blobs{&root};
  LayerRows rows{&root};
  Fetcher fetcher{&root, &blobs, &rows};
  Views views{&root, &indexes};
  Layers layers{&root, &records, &rows, &indexes, &blobs, &fetcher, &views};
  Snapshots snapshots{&root, &records, &rows, &views, &layers};
  store::LayerBlobs layer_blobs{&root,  &records, &rows,   &views,
                                &blobs, &fetcher, &layers, &snapshots};
  NamedDirs named{&root, &records, &views, &layers};
  Collection collection{&root, &records, &blobs, &indexes};
  bool recovered = false;
  bool ready = false;
};

Result<std::unique_ptr<Store>> Store::Open(StoreOptions options) {
  if (options.snapshotter != "native" && options.snapshotter != "overlayfs" &&
      options.snapshotter != "auto") {
    return InvalidArgument("unknown snapshotter name: {}", Quoted(options.snapshotter));
  }
  if (!options.root.starts_with('/'))
    return InvalidArgument("store root {} is not an absolute path", Quoted(options.root));
  auto impl = std::make_unique<Impl>(std::move(options));
  TRY_CTX(impl->Open(), "opening the store");
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

const std::string& Store::root() const { return impl_->root.path(); }
bool Store::recovered() const { return impl_->recovered; }
Result<std::set<std::string>> Store::RecordIds() { return impl_->records.Ids(); }

Result<BlobWriter> Store::Ingest() { return impl_->blobs.Ingest(); }

Result<BlobRef> Store::PutBlob(std::string_view data, std::optional<Digest> expected) {
  const Digest digest = Sha256Of(data);
  if (expected && *expected != digest)
    return DataLoss("unexpected content: digest is {}, expected {}", digest, *expected);
  if (auto existing = impl_->blobs.Get(digest); existing.ok()) return existing;
  TRY_ASSIGN(BlobWriter writer, Ingest());
  TRY(writer.Write(data));
  auto ref = writer.Commit();
  impl_->root.janitor().WantSync();
  return ref;
}

Result<BlobRef> Store::GetBlob(const Digest& digest) { return impl_->blobs.Get(digest); }
Result<BlobInfo> Store::StatBlob(const Digest& digest) { return impl_->blobs.Stat(digest); }
Result<std::vector<Digest>> Store::ListBlobs() { return impl_->blobs.List(); }

Status Store::SetBlobLabels(const Digest& digest,
                            const std::map<std::string, std::string>& labels) {
  return impl_->blobs.SetLabels(digest, labels);
}

Status Store::AddDistributionSource(const Digest& digest, std::string_view host,
                                    std::string_view repository) {
  return impl_->blobs.AddSource(digest, host, repository);
}

Status Store::PinBlob(const Digest& digest, const std::string& owner,
                      std::optional<WallTime> until) {
  return impl_->blobs.Pin(digest, owner, until);
}

Status Store::UnpinBlobs(const std::string& owner) { return impl_->blobs.Unpin(owner); }

Result<ActiveSnapshot> Store::Prepare(const progress::Activity& activity,
                                      const SnapshotRef& parent) {
  return impl_->snapshots.Prepare(activity, parent);
}

Result<SnapshotRef> Store::Commit(ActiveSnapshot active, const CommitOptions& options) {
  return impl_->snapshots.Commit(std::move(active), options);
}

Result<SnapshotRef> Store::ImportChain(std::span<const LazyLayer> layers, const SnapshotRef& parent,
                                       const CommitOptions& options) {
  return impl_->layers.Import(layers, parent, options);
}

Result<SnapshotRef> Store::Merge(std::span<const SnapshotRef> inputs,
                                 const CommitOptions& options) {
  return impl_->snapshots.Merge(inputs, options);
}

Result<SnapshotRef> Store::Diff(const progress::Activity& activity, const SnapshotRef& lower,
                                const SnapshotRef& upper, const CommitOptions& options) {
  return impl_->snapshots.Diff(activity, lower, upper, options);
}

Result<SnapshotRef> Store::FindByChain(const Digest& chain_id) {
  TRY_ASSIGN(const std::vector<RecordPtr> records, impl_->records.AllOfChain(chain_id));
  for (const RecordPtr& record : records) {
    if (!Views::IsLocal(record)) continue;
    record->used = true;
    return SnapshotRef(record);
  }
  return SnapshotRef();
}

Result<std::vector<SnapshotRef>> Store::FindByLabel(std::string_view name, std::string_view value) {
  TRY_ASSIGN(std::vector<RecordPtr> records, impl_->records.FindByLabel(name, value));
  std::vector<SnapshotRef> refs;
  for (RecordPtr& record : records) refs.push_back(SnapshotRef(std::move(record)));
  return refs;
}

Status Store::SetLabel(const SnapshotRef& ref, std::string_view name, std::string_view value) {
  if (ref.is_scratch()) return FailedPrecondition("scratch carries no labels");
  return impl_->records.SetLabel(ref.record()->row.num, name, value);
}

Result<std::string> Store::Label(const SnapshotRef& ref, std::string_view name) {
  if (ref.is_scratch()) return std::string();
  return impl_->records.Label(ref.record()->row.num, name);
}

Result<RecordInfo> Store::Info(const SnapshotRef& ref) {
  if (ref.is_scratch()) return FailedPrecondition("scratch has no record");
  const RecordState& state = *ref.record();
  RecordInfo info;
  info.id = state.row.id;
  info.type = state.row.type;
  info.description = state.row.description;
  info.created = state.row.created;
  info.local = state.local;
  info.chain_id = impl_->records.ChainIdOf(ref.record());
  const MutexLock lock(state.mutex);
  info.diff_id = state.diff_id;
  return info;
}

Result<bool> Store::IsLocal(const SnapshotRef& ref) { return Views::IsLocal(ref.record()); }

Status Store::EnsureLocal(const progress::Activity& activity, const SnapshotRef& ref) {
  return impl_->layers.EnsureLocal(activity, ref);
}

Result<sys::MountDescription> Store::ViewMount(const SnapshotRef& ref) {
  return impl_->views.MountOf(ref.record());
}

Result<TreeView> Store::Tree(const SnapshotRef& ref) {
  return impl_->views.ViewOf(VisibleChainOf(ref.record()), ref.record());
}

Result<std::vector<std::string>> Store::LayerDirs(const SnapshotRef& ref) {
  return impl_->views.LocalDirs(ref.record());
}

Result<std::vector<LayerBlob>> Store::LayerBlobs(const progress::Activity& activity,
                                                 const SnapshotRef& ref,
                                                 const LayerBlobOptions& options) {
  return impl_->layer_blobs.Of(activity, ref, options);
}

Result<std::vector<std::optional<LayerBlob>>> Store::KnownLayerBlobs(const SnapshotRef& ref) {
  return impl_->layer_blobs.Known(ref);
}

Result<BlobRef> Store::EnsureBlob(const progress::Activity& activity, const LayerBlob& layer) {
  return impl_->fetcher.Fetch(activity, layer.descriptor, "", layer.locators);
}

Status Store::AddLocator(const Digest& blob, const Locator& locator) {
  return impl_->rows.AddLocator(blob, locator);
}

void Store::AddBlobSource(std::string kind, BlobSource* source) {
  if (source->BoundToSessions()) impl_->rows.KeepFew(kind);
  impl_->fetcher.AddSource(std::move(kind), source);
}

Result<NamedDir> Store::OpenNamedDir(const progress::Activity& activity,
                                     const NamedDirOptions& options) {
  return impl_->named.Open(activity, options);
}

Status Store::RetireNamedDirs(const std::string& key, bool for_any_initial) {
  return impl_->named.Retire(key, for_any_initial);
}

Result<SnapshotRef> Store::Freeze(NamedDir dir, bool received) {
  return impl_->named.Freeze(dir, received);
}

Result<SnapshotRef> Store::Solid(const progress::Activity& activity, const SnapshotRef& ref) {
  return ref.is_ephemeral() ? impl_->snapshots.SolidTwin(activity, ref) : ref;
}

Result<SnapshotRef> Store::Claim(const std::string& record_id) {
  TRY_ASSIGN(RecordPtr record, impl_->records.Claim(record_id));
  return SnapshotRef(std::move(record));
}

void Store::OnCollected(std::function<void(std::span<const std::string>)> callback) {
  impl_->collection.OnCollected(std::move(callback));
}

Result<std::vector<UsageRecord>> Store::DiskUsage(const std::vector<std::string>& filters,
                                                  std::chrono::nanoseconds age_limit) {
  return impl_->collection.DiskUsage(filters, age_limit);
}

Status Store::Prune(const progress::Activity& activity, std::span<const PruneRule> rules,
                    const PrunedFn& pruned) {
  return impl_->collection.Prune(activity, rules, pruned);
}

void Store::WaitForDeletions() { impl_->root.janitor().Drain(); }

void Store::Trim() { impl_->indexes.Trim(false); }

const std::string& SnapshotRef::id() const {
  static const std::string kNone;
  return state_ == nullptr ? kNone : state_->row.id;
}

bool SnapshotRef::is_ephemeral() const { return state_ != nullptr && state_->frozen != nullptr; }

}  // namespace kiln::store
