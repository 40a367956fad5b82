// Lazy layers: recording them, fetching their blobs, unpacking.
#include <sys/stat.h>
#include <unistd.h>

#include <future>

#include "archive/apply.h"
#include "archive/compression.h"
#include "base/ids.h"
#include "base/log.h"
#include "oci/media_type.h"
#include "store/store_impl.h"

namespace kiln::store {

bool IsLost(const Error& error) { return error.FindDetail(kLostDetailType) != nullptr; }

Error LostError(const std::string& record_id, std::string message) {
  Error error(Code::kNotFound, std::move(message));
  error.AddDetail({std::string(kLostDetailType), record_id});
  return error;
}

// --- Importing
// -----------------------------------------------------------------------------------------------------------
namespace {

archive::Compression CompressionOf(const oci::Descriptor& blob) {
  switch (oci::LayerCompression(blob.media_type).value_or(oci::Compression::kNone)) {
    case oci::Compression::kGzip:
      return archive::Compression::kGzip;
    case oci::Compression::kZstd:
      return archive::Compression::kZstd;
    case oci::Compression::kNone:
      break;
  }
  return archive::Compression::kNone;
}

std::vector<std::optional<Digest>> ChainIds(std::optional<Digest> below, bool known,
                                            std::span<const LazyLayer> layers) {
  std::vector<std::optional<Digest>> ids;
  for (const LazyLayer& layer : layers) {
    if (!known) {
      ids.emplace_back();
      continue;
    }
    below = below ? Sha256Of(below->ToString() + " " + layer.diff_id.ToString()) : layer.diff_id;
    ids.push_back(below);
  }
  return ids;
}

Status InsertLocators(SqliteConnection& db, const Digest& digest,
                      const std::vector<Locator>& locators) {
  for (const Locator& locator : locators) {
    TRY_ASSIGN(SqliteStatement insert,
               db.Prepare("INSERT OR IGNORE INTO locators(digest,kind,value) VALUES(?,?,?)"));
    TRY(insert.Bind(digest).Bind(locator.kind).Bind(locator.value).Run());
  }
  return OkStatus();
}

Status InsertBlobRow(SqliteConnection& db, int64_t num, const oci::Descriptor& blob,
                     archive::Compression compression, int64_t offset = 0) {
  TRY_ASSIGN(
      SqliteStatement insert,
      db.Prepare("INSERT OR IGNORE INTO layer_blobs(record,digest,position,compression,descriptor) "
                 "SELECT ?1,?2,(SELECT count(*) FROM layer_blobs WHERE record=?1),?3,?4"));
  return insert.Bind(num)
      .Bind(blob.digest)
      .Bind(static_cast<int64_t>(compression) + offset)
      .Bind(oci::Encode(blob))
      .Run();
}

}  // namespace

Result<SnapshotRef> Store::ImportChain(std::span<const LazyLayer> layers, const SnapshotRef& parent,
                                       const CommitOptions& options) {
  for (const LazyLayer& layer : layers) {
    if (layer.diff_id.empty()) return InvalidArgument("layer {}: no diff id", layer.blob.digest);
  }
  MutexLock importing(impl_->import_mutex);
  const std::optional<Digest> below = impl_->ChainIdOf(parent.state_);
  const auto chain_ids = ChainIds(below, parent.is_scratch() || below.has_value(), layers);
  // The longest part that is known already, looked for from the top.
  SnapshotRef at = parent;
  size_t known = layers.size();
  for (; known > 0; --known) {
    if (!chain_ids[known - 1]) continue;
    TRY_ASSIGN(SnapshotRef found, FindByChain(*chain_ids[known - 1]));
    if (found.is_scratch()) continue;
    at = std::move(found);
    break;
  }
  for (size_t i = known; i < layers.size(); ++i) {
    CommitOptions commit = options;
    commit.created = layers[i].created ? layers[i].created : options.created;
    if (!layers[i].description.empty()) commit.description = layers[i].description;
    if (i + 1 < layers.size()) commit.labels.clear();
    RecordRow row = impl_->NewRow(RecordKind::kLayer, commit);
    row.diff_id = layers[i].diff_id;
    row.chain_id = chain_ids[i];
    TRY_ASSIGN(RecordPtr record,
               impl_->Insert(std::move(row), at.state_, {}, commit, std::nullopt));
    at = SnapshotRef(std::move(record));
  }
  // What is known of each layer's blobs grows with each import.
  const std::vector<RecordPtr> chain = ChainOf(at.state_);
  const size_t first = chain.size() - layers.size();
  TRY(impl_->database->Write([&](SqliteConnection& db) -> Status {
    for (size_t i = 0; i < layers.size(); ++i) {
      const oci::Descriptor& blob = layers[i].blob;
      TRY(InsertBlobRow(db, chain[first + i]->row.num, blob, CompressionOf(blob)));
      TRY(InsertLocators(db, blob.digest, layers[i].locators));
    }
    return OkStatus();
  }));
  return at;
}

Status Store::AddLocator(const Digest& blob, const Locator& locator) {
  return impl_->database->Write(
      [&](SqliteConnection& db) { return InsertLocators(db, blob, {locator}); });
}

Status Store::Impl::AddBlobRow(int64_t num, const oci::Descriptor& descriptor,
                               archive::Compression compression, BlobKind kind) {
  return database->Write([&](SqliteConnection& db) {
    return InsertBlobRow(db, num, descriptor, compression, static_cast<int64_t>(kind));
  });
}

Result<std::vector<Store::Impl::BlobRow>> Store::Impl::BlobRows(int64_t num, BlobKind kind) {
  const auto first = static_cast<int64_t>(kind);
  std::vector<BlobRow> rows;
  TRY(database->Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(
        SqliteStatement query,
        db.Prepare(
            "SELECT descriptor,compression-?2 FROM layer_blobs WHERE record=?1 AND compression>=?2 "
            "AND compression<?2+16 ORDER BY position"));
    query.Bind(num).Bind(first);
    while (true) {
      TRY_ASSIGN(const bool row, query.Step());
      if (!row) return OkStatus();
      TRY_ASSIGN(oci::Descriptor descriptor, oci::DecodeDescriptor(query.Text(0)));
      rows.push_back({std::move(descriptor), static_cast<archive::Compression>(query.Int(1))});
    }
  }));
  return rows;
}

Result<std::vector<Locator>> Store::Impl::LocatorsOf(const Digest& digest) {
  std::vector<Locator> locators;
  TRY(database->Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query,
               db.Prepare("SELECT kind,value FROM locators WHERE digest=? ORDER BY kind,value"));
    query.Bind(digest);
    while (true) {
      TRY_ASSIGN(const bool row, query.Step());
      if (!row) return OkStatus();
      locators.push_back({query.Text(0), query.Text(1)});
    }
  }));
  return locators;
}

// --- Fetching
// --------------------------------------------------------------------------------------------------------------
namespace {

// The place does not have it, or nobody here may read there: another place may do.
bool IsGone(const Error& error) {
  switch (error.code()) {
    case Code::kNotFound:
    case Code::kFailedPrecondition:
    case Code::kUnauthenticated:
    case Code::kPermissionDenied:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<BlobRef> Store::Impl::FetchBlob(const progress::Activity& activity,
                                       const oci::Descriptor& blob, const std::string& record_id) {
  if (auto local = blobs->Get(blob.digest); local.ok()) return local;
  TRY_ASSIGN(const KeyedGate::Ticket ticket,
             gate.Enter(activity, "blob:" + blob.digest.ToString()));
  if (auto local = blobs->Get(blob.digest); local.ok()) return local;
  TRY_ASSIGN(const std::vector<Locator> locators, LocatorsOf(blob.digest));
  std::optional<Error> last;
  bool all_gone = true;
  progress::StatusScope status(activity, *clock, Digest(), blob.digest.ToString());
  for (const Locator& locator : locators) {
    const auto source = blob_sources.find(locator.kind);
    if (source == blob_sources.end()) continue;
    TRY(activity.Check());
    TRY_ASSIGN(BlobWriter writer, blobs->Ingest());
    writer.set_observer(
        [&](uint64_t offset) { status.Update(static_cast<int64_t>(offset), blob.size); });
    Status fetched = source->second->Fetch(activity, blob, locator, writer);
    if (fetched.ok()) {
      auto ref = writer.Commit(blob.digest, static_cast<uint64_t>(blob.size));
      janitor->WantSync();
      if (ref.ok()) return ref;
      fetched = std::move(ref).error();
    }
    TRY(activity.Check());
    all_gone = all_gone && IsGone(fetched.error());
    last = std::move(fetched.error().AddContext(
        fmt::format("fetching layer {} from {}", blob.digest, locator.value)));
  }
  if (!last)
    return LostError(
        record_id,
        fmt::format("layer {} is not here and no place to fetch it from is known", blob.digest));
  if (all_gone) last->AddDetail({std::string(kLostDetailType), record_id});
  return std::move(*last);
}

Result<BlobRef> Store::EnsureBlob(const progress::Activity& activity, const LayerBlob& layer) {
  for (const Locator& locator : layer.locators) {
    TRY(AddLocator(layer.descriptor.digest, locator));
  }
  return impl_->FetchBlob(activity, layer.descriptor, "");
}

// --- Unpacking
// ---------------------------------------------------------------------------------------------------------------
namespace {

// What a layer's unlisted parent directory looks like in the layers below.
std::optional<archive::TarEntry> ParentAttributes(const TreeView& below, const std::string& path) {
  auto found = below.Lookup("/" + path, Follow::kNo);
  if (!found.ok() || !found->node->IsDirectory()) return std::nullopt;
  archive::TarEntry entry;
  entry.path = path;
  entry.type = archive::EntryType::kDirectory;
  entry.mode = found->node->mode & 07777;
  entry.uid = found->node->uid;
  entry.gid = found->node->gid;
  entry.mtime = FromUnixNanos(found->node->mtime_ns);
  if (auto xattrs = below.Xattrs(*found); xattrs.ok()) entry.xattrs = std::move(*xattrs);
  return entry;
}

}  // namespace

Status Store::Impl::Unpack(const progress::Activity& activity, const RecordPtr& record,
                           const std::vector<RecordPtr>& below,
                           const std::function<Status()>& below_ready) {
  TRY_ASSIGN(const KeyedGate::Ticket ticket, gate.Enter(activity, "unpack:" + record->row.id));
  if (record->local) return OkStatus();
  TRY_ASSIGN(const std::vector<BlobRow> rows, BlobRows(record->row.num));
  if (rows.empty())
    return LostError(record->row.id,
                     fmt::format("snapshot {}: no blob of its layer is known", record->row.id));
  const BlobRow* chosen = &rows[0];
  for (const BlobRow& row : rows) {
    if (blobs->Has(row.descriptor.digest)) {
      chosen = &row;
      break;
    }
  }
  TRY_ASSIGN(const BlobRef blob, FetchBlob(activity, chosen->descriptor, record->row.id));
  progress::StatusScope status(activity, *clock, Digest(),
                               "extracting " + blob.digest().ToString());

  const std::string temporary = root + "/ingest/unpack-" + NewId();
  const std::string directory = temporary + "/fs";
  if (mkdir(temporary.c_str(), 0700) != 0 || mkdir(directory.c_str(), 0755) != 0)
    return ErrnoError(errno, "create {}", temporary);
  auto unpack = [&]() -> Status {
    TRY_ASSIGN(const Fd fd, blob.Open());
    archive::FdSource file(fd.get());
    TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> tar, archive::Decompress(file));
    archive::HashingSource hashed(*tar);
    TRY_ASSIGN(const sys::RootedPath target, sys::RootedPath::Open(directory));
    std::optional<TreeView> lower;
    archive::ApplyOptions apply;
    apply.userxattr = options.rootless;
    apply.privileged = !options.rootless;
    Status lower_failed;
    apply.parent_attributes = [&](const std::string& path) -> std::optional<archive::TarEntry> {
      if (!lower_failed.ok()) return std::nullopt;
      if (!lower) {
        lower_failed = below_ready();
        if (!lower_failed.ok()) return std::nullopt;
        auto view = ViewOf(below, nullptr);
        if (!view.ok()) {
          lower_failed = std::move(view).error();
          return std::nullopt;
        }
        lower = std::move(*view);
      }
      return ParentAttributes(*lower, path);
    };
    TRY_CTX(archive::ApplyLayer(hashed, target, apply, activity.cancel), "unpacking layer {}",
            blob.digest());
    TRY(lower_failed);
    const Digest diff_id = hashed.Finish();
    const std::optional<Digest> wanted = record->row.diff_id;
    if (wanted && *wanted != diff_id) {
      return DataLoss("layer {}: its content has diff id {}, the image says {}", blob.digest(),
                      diff_id, *wanted);
    }
    return OkStatus();
  };
  if (Status unpacked = unpack(); !unpacked.ok()) {
    Trash(temporary);
    return unpacked;
  }
  const SnapshotDirs dirs = DirsOf(record->row.num);
  if (access(dirs.top.c_str(), F_OK) == 0) Trash(dirs.top);
  if (rename(temporary.c_str(), dirs.top.c_str()) != 0)
    return ErrnoError(errno, "publishing {}", dirs.top);
  const int64_t seq = NextSeq();
  TRY(database->Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update,
               db.Prepare("UPDATE records SET local=1, size=NULL, seq=? WHERE num=?"));
    return update.Bind(seq).Bind(record->row.num).Run();
  }));
  indexes->Forget(record->row.num);
  record->local = true;
  janitor->WantSync();
  return OkStatus();
}

// Layers are fetched and unpacked side by side. One that must know what lies below waits for those;
// the pool takes them bottom first, so whoever waits waits for somebody at work.
Status Store::Impl::EnsureLocal(const progress::Activity& activity, const SnapshotRef& ref) {
  const std::vector<RecordPtr> chain = VisibleChainOf(ref.state_);
  size_t missing = 0;
  for (const RecordPtr& record : chain) missing += record->local ? 0 : 1;
  if (missing == 0) return OkStatus();

  CancelSource cancel(activity.cancel);
  const progress::Activity mine = activity.WithCancel(cancel.token());
  std::vector<std::shared_future<std::shared_ptr<Status>>> done(chain.size());
  for (size_t i = 0; i < chain.size(); ++i) {
    if (chain[i]->local) continue;
    auto promise = std::make_shared<std::promise<std::shared_ptr<Status>>>();
    done[i] = promise->get_future().share();
    const std::vector<std::shared_future<std::shared_ptr<Status>>> lower(
        done.begin(), done.begin() + static_cast<ptrdiff_t>(i));
    fetch_pool->Submit([this, i, &chain, &cancel, mine, lower, promise] {
      const std::vector<RecordPtr> below(chain.begin(), chain.begin() + static_cast<ptrdiff_t>(i));
      Status status = Unpack(mine, chain[i], below, [&]() -> Status {
        for (const auto& layer : lower) {
          if (layer.valid() && !layer.get()->ok()) return Cancelled("a layer below failed");
        }
        return OkStatus();
      });
      if (!status.ok()) cancel.Cancel(Cancelled("another layer failed"));
      promise->set_value(std::make_shared<Status>(std::move(status)));
    });
  }
  // All must have ended before anything they refer to goes. The first real failure is the one to
  // tell.
  std::shared_ptr<Status> failed;
  for (const auto& layer : done) {
    if (!layer.valid()) continue;
    const std::shared_ptr<Status> status = layer.get();
    if (status->ok()) continue;
    if (failed == nullptr || (failed->error().code() == Code::kCancelled &&
                              status->error().code() != Code::kCancelled)) {
      failed = status;
    }
  }
  TRY(activity.Check());
  if (failed != nullptr) return *failed;
  return OkStatus();
}

Status Store::EnsureLocal(const progress::Activity& activity, const SnapshotRef& ref) {
  return impl_->EnsureLocal(activity, ref);
}

}  // namespace kiln::store
