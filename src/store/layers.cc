#include "store/layers.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <future>

#include "archive/apply.h"
#include "archive/compression.h"
#include "oci/image_config.h"
#include "store/layers_below.h"

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
    TRY_ASSIGN(RecordPtr found, FindImported(*chain_ids[known - 1], parent, layers.first(known)));
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
  const std::vector<RecordPtr> chain = ChainOf(at.record());
  TRY(rows_->AddImported(std::span(chain).last(layers.size()), layers, known));
  return at;
}

// A diff id is what an image claims of its blob, until somebody has unpacked that. So a layer is
// the same as another image's if that one is unpacked, which verified it, or comes as the same
// blob; else a false claim about a blob would become that of an honest image.
Result<RecordPtr> Layers::FindImported(const Digest& chain_id, const SnapshotRef& parent,
                                       std::span<const LazyLayer> layers) {
  const std::vector<RecordPtr> base = ChainOf(parent.record());
  TRY_ASSIGN(const std::vector<RecordPtr> candidates, records_->AllOfChain(chain_id));
  for (const RecordPtr& candidate : candidates) {
    const std::vector<RecordPtr> chain = ChainOf(candidate);
    bool same = chain.size() == base.size() + layers.size();
    for (size_t i = 0; same && i < chain.size(); ++i) {
      if (chain[i]->local || (i < base.size() && chain[i] == base[i])) continue;
      same = false;
      if (i < base.size()) break;
      TRY_ASSIGN(same, rows_->Has(chain[i]->row.num, layers[i - base.size()].blob.digest));
    }
    if (!same) continue;
    candidate->used = true;
    return candidate;
  }
  return RecordPtr();
}

namespace {

// Ends when the disk is nearly full: a small blob may hold a very large layer.
class SpaceCheckedSource final : public archive::ByteSource {
 public:
  SpaceCheckedSource(archive::ByteSource& from, const Root& root) : from_(from), root_(root) {}
  Result<size_t> Read(char* buffer, size_t size) override {
    if (unchecked_ >= Root::kSpaceStep) {
      TRY(root_.CheckSpace());
      unchecked_ = 0;
    }
    TRY_ASSIGN(const size_t count, from_.Read(buffer, size));
    unchecked_ += count;
    return count;
  }

 private:
  archive::ByteSource& from_;
  const Root& root_;
  uint64_t unchecked_ = 0;
};

}  // namespace

// Writes the layer to `temporary`/fs; its diff id.
Result<Digest> Layers::Extract(const progress::Activity& activity, const BlobRef& blob,
                               const std::string& temporary, const RecordPtr& record) {
  TRY_ASSIGN(const Fd fd, blob.Open());
  archive::FdSource file(fd.get());
  TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> tar, archive::Decompress(file));
  SpaceCheckedSource checked(*tar, *root_);
  archive::HashingSource hashed(checked);
  TRY_ASSIGN(const sys::RootedPath target, sys::RootedPath::Open(temporary + "/fs"));
  const std::vector<RecordPtr> chain = VisibleChainOf(record->parent);
  LayersBelow below({.root = root_,
                     .views = views_,
                     .chain = chain,
                     .ready = [&] { return UnpackAll(activity, chain); },
                     .copies = temporary + "/below"},
                    target);
  archive::ApplyOptions apply;
  apply.privileges = root_->options().privileges;
  apply.parent_attributes = [&](const std::string& path) { return below.Attributes(path); };
  apply.files_below = &below;
  TRY_CTX(archive::ApplyLayer(hashed, target, apply, activity.cancel), "unpacking layer {}",
          blob.digest());
  TRY(below.failed());
  return hashed.Finish();
}

Status Layers::Publish(const RecordPtr& record, const std::string& temporary) {
  const SnapshotDirs dirs = root_->DirsOf(record->row.num);
  if (access(dirs.top.c_str(), F_OK) == 0) root_->Trash(dirs.top);
  if (rename(temporary.c_str(), dirs.top.c_str()) != 0) {
    Error error = ErrnoError(errno, "publishing {}", dirs.top);
    root_->Trash(temporary);
    return error;
  }
  const int64_t seq = root_->NextSeq();
  Status written = root_->database().Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update,
               db.Prepare("UPDATE records SET local=1, size=NULL, seq=? WHERE num=?"));
    return update.Bind(seq).Bind(record->row.num).Run();
  });
  if (!written.ok()) {
    root_->Trash(dirs.top);
    return written;
  }
  indexes_->Forget(record->row.num);
  record->local = true;
  root_->janitor().WantSync();
  return OkStatus();
}

Status Layers::UnpackBlob(const progress::Activity& activity, const RecordPtr& record,
                          const BlobRow& row) {
  TRY_ASSIGN(const BlobRef blob, fetcher_->Fetch(activity, row.descriptor, record->row.id));
  progress::StatusScope status(activity, root_->clock(), Digest(),
                               "extracting " + blob.digest().ToString());
  const std::string temporary = root_->NewIngest("unpack");
  const std::string directory = temporary + "/fs";
  if (mkdir(temporary.c_str(), 0700) != 0 || mkdir(directory.c_str(), 0755) != 0)
    return ErrnoError(errno, "create {}", temporary);
  Result<Digest> diff_id = Extract(activity, blob, temporary, record);
  const std::optional<Digest> wanted = record->row.diff_id;
  if (diff_id.ok() && (!wanted || *wanted == *diff_id)) return Publish(record, temporary);
  root_->Trash(temporary);
  if (!diff_id.ok()) return std::move(diff_id).error();
  TRY(rows_->DropUnlessLast(record->row.num, blob.digest()));
  return DataLoss("layer {}: its content has diff id {}, the image says {}", blob.digest(),
                  *diff_id, *wanted);
}

// What is unpacked by somebody else is waited for. Only those above wait for those below, so nobody
// waits for himself.
Status Layers::UnpackAll(const progress::Activity& activity, const std::vector<RecordPtr>& chain) {
  for (const RecordPtr& record : chain) {
    if (!record->local) TRY(Unpack(activity, record));
  }
  return OkStatus();
}

Status Layers::Unpack(const progress::Activity& activity, const RecordPtr& record) {
  TRY_ASSIGN(const KeyedGate::Ticket ticket, gate_.Enter(activity, record->row.id));
  if (record->local) return OkStatus();
  TRY_ASSIGN(std::vector<BlobRow> rows, rows_->Of(record->row.num));
  // What is here comes first.
  std::stable_partition(rows.begin(), rows.end(),
                        [&](const BlobRow& row) { return blobs_->Has(row.descriptor.digest); });
  Error failed = LostError(
      record->row.id, fmt::format("snapshot {}: no blob of its layer is known", record->row.id));
  for (const BlobRow& row : rows) {
    Status unpacked = UnpackBlob(activity, record, row);
    if (unpacked.ok()) return OkStatus();
    TRY(activity.Check());
    // That one of them is lost is no news while another is only out of reach.
    if (&row == &rows.front() || IsLost(failed)) failed = std::move(unpacked).error();
    if (failed.code() == Code::kResourceExhausted) break;
  }
  return failed;
}

// Layers are fetched and unpacked side by side. One that must know what lies below unpacks what is
// not there yet itself, as nobody may be free to do so, and need not even be asked to: a merge can
// show a layer without those it was made on.
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
    pool_.Submit([this, i, &chain, &cancel, mine, promise] {
      Status status = Unpack(mine, chain[i]);
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
