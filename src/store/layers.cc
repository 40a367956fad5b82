#include "store/layers.h"

#include <sys/stat.h>
#include <unistd.h>

#include <future>

#include "archive/apply.h"
#include "archive/compression.h"
#include "oci/image_config.h"

namespace kiln::store {
namespace {

std::vector<std::optional<Digest>> ChainIds(std::optional<Digest> below, bool known,
                                            std::span<const LazyLayer> layers) {
  std::vector<std::optional<Digest>> ids;
  for (const LazyLayer& layer : layers) {
    if (!known) {
      ids.emplace_back();
      continue;
    }
    below = oci::ChainIdOn(below, layer.diff_id);
    ids.push_back(below);
  }
  return ids;
}

}  // namespace

Result<SnapshotRef> Layers::Import(std::span<const LazyLayer> layers, const SnapshotRef& parent,
                                   const CommitOptions& options) {
  for (const LazyLayer& layer : layers) {
    if (layer.diff_id.empty()) return InvalidArgument("layer {}: no diff id", layer.blob.digest);
  }
  MutexLock importing(importing_);
  const std::optional<Digest> below = records_->ChainIdOf(parent.record());
  const auto chain_ids = ChainIds(below, parent.is_scratch() || below.has_value(), layers);
  // The longest part that is known already, looked for from the top.
  SnapshotRef at = parent;
  size_t known = layers.size();
  for (; known > 0; --known) {
    if (!chain_ids[known - 1]) continue;
    TRY_ASSIGN(RecordPtr found, records_->FindByChain(*chain_ids[known - 1]));
    if (found == nullptr) continue;
    at = SnapshotRef(std::move(found));
    break;
  }
  for (size_t i = known; i < layers.size(); ++i) {
    CommitOptions commit = options;
    commit.created = layers[i].created ? layers[i].created : options.created;
    if (!layers[i].description.empty()) commit.description = layers[i].description;
    if (i + 1 < layers.size()) commit.labels.clear();
    RecordRow row = records_->NewRow(RecordKind::kLayer, commit);
    row.diff_id = layers[i].diff_id;
    row.chain_id = chain_ids[i];
    TRY_ASSIGN(RecordPtr record,
               records_->Insert(std::move(row), at.record(), {}, commit, std::nullopt));
    at = SnapshotRef(std::move(record));
  }
  // What is known of each layer's blobs grows with each import.
  const std::vector<RecordPtr> chain = ChainOf(at.record());
  const size_t first = chain.size() - layers.size();
  TRY(rows_->AddImported(std::span(chain).subspan(first), layers));
  return at;
}

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

Status Layers::Unpack(const progress::Activity& activity, const RecordPtr& record,
                      const std::vector<RecordPtr>& below,
                      const std::function<Status()>& below_ready) {
  TRY_ASSIGN(const KeyedGate::Ticket ticket, gate_.Enter(activity, record->row.id));
  if (record->local) return OkStatus();
  TRY_ASSIGN(const std::vector<BlobRow> rows, rows_->Of(record->row.num));
  if (rows.empty())
    return LostError(record->row.id,
                     fmt::format("snapshot {}: no blob of its layer is known", record->row.id));
  const BlobRow* chosen = &rows[0];
  for (const BlobRow& row : rows) {
    if (blobs_->Has(row.descriptor.digest)) {
      chosen = &row;
      break;
    }
  }
  TRY_ASSIGN(const BlobRef blob, fetcher_->Fetch(activity, chosen->descriptor, record->row.id));
  progress::StatusScope status(activity, root_->clock(), Digest(),
                               "extracting " + blob.digest().ToString());

  const std::string temporary = root_->NewIngest("unpack");
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
    apply.userxattr = root_->options().rootless;
    apply.privileged = !root_->options().rootless;
    Status lower_failed;
    apply.parent_attributes = [&](const std::string& path) -> std::optional<archive::TarEntry> {
      if (!lower_failed.ok()) return std::nullopt;
      if (!lower) {
        lower_failed = below_ready();
        if (!lower_failed.ok()) return std::nullopt;
        auto view = views_->ViewOf(below, nullptr);
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
    root_->Trash(temporary);
    return unpacked;
  }
  const SnapshotDirs dirs = root_->DirsOf(record->row.num);
  if (access(dirs.top.c_str(), F_OK) == 0) root_->Trash(dirs.top);
  if (rename(temporary.c_str(), dirs.top.c_str()) != 0)
    return ErrnoError(errno, "publishing {}", dirs.top);
  const int64_t seq = root_->NextSeq();
  TRY(root_->database().Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update,
               db.Prepare("UPDATE records SET local=1, size=NULL, seq=? WHERE num=?"));
    return update.Bind(seq).Bind(record->row.num).Run();
  }));
  indexes_->Forget(record->row.num);
  record->local = true;
  root_->janitor().WantSync();
  return OkStatus();
}

// Layers are fetched and unpacked side by side. One that must know what lies below waits for those;
// the pool takes them bottom first, so whoever waits waits for somebody at work.
Status Layers::EnsureLocal(const progress::Activity& activity, const SnapshotRef& ref) {
  const std::vector<RecordPtr> chain = VisibleChainOf(ref.record());
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
    pool_.Submit([this, i, &chain, &cancel, mine, lower, promise] {
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

}  // namespace kiln::store
