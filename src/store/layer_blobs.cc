// Layers of a snapshot as blobs.
#include "archive/compression.h"
#include "base/log.h"
#include "oci/media_type.h"
#include "store/copy.h"
#include "store/layer_tar.h"
#include "store/store_impl.h"

namespace kiln::store {
namespace {

class BlobSink final : public archive::ByteSink {
 public:
  explicit BlobSink(BlobWriter* writer) : writer_(writer) {}
  Status Write(std::string_view data) override { return writer_->Write(data); }

 private:
  BlobWriter* writer_;
};

std::string MediaType(archive::Compression compression) {
  switch (compression) {
    case archive::Compression::kGzip:
      return std::string(oci::kOciLayerGzip);
    case archive::Compression::kZstd:
      return std::string(oci::kOciLayerZstd);
    case archive::Compression::kNone:
      break;
  }
  return std::string(oci::kOciLayer);
}

}  // namespace

Result<LayerBlob> Store::Impl::DescribeBlob(const RecordPtr& record,
                                            const oci::Descriptor& descriptor) {
  LayerBlob layer;
  layer.descriptor = descriptor;
  layer.local = blobs->Has(descriptor.digest);
  TRY_ASSIGN(layer.locators, LocatorsOf(descriptor.digest));
  layer.created = record->row.created;
  layer.description = record->row.description;
  std::lock_guard guard(record->mutex);
  layer.diff_id = record->diff_id.value_or(Digest());
  return layer;
}

// Whether the blob can be had, or else could only be asked for. After a power cut a blob made here
// may be gone while its layer is there.
Result<bool> Store::Impl::IsUsable(const RecordPtr& record, const BlobRow& row) {
  if (!record->local || blobs->Has(row.descriptor.digest)) return true;
  TRY_ASSIGN(const std::vector<Locator> locators, LocatorsOf(row.descriptor.digest));
  return !locators.empty();
}

Result<std::vector<Store::Impl::BlobRow>> Store::Impl::UsableBlobRows(const RecordPtr& record) {
  TRY_ASSIGN(std::vector<BlobRow> rows, BlobRows(record->row.num));
  std::vector<BlobRow> usable;
  for (BlobRow& row : rows) {
    TRY_ASSIGN(const bool good, IsUsable(record, row));
    if (good) usable.push_back(std::move(row));
  }
  return usable;
}

Result<LayerBlob> Store::Impl::MakeLayerBlob(const progress::Activity& activity,
                                             const RecordPtr& record,
                                             const std::vector<RecordPtr>& below,
                                             const LayerBlobOptions& options) {
  const int type = static_cast<int>(options.compression.type);
  TRY_ASSIGN(const KeyedGate::Ticket ticket,
             gate.Enter(activity, fmt::format("layer:{}:{}", record->row.id, type)));
  TRY_ASSIGN(const std::vector<BlobRow> rows, UsableBlobRows(record));
  for (const BlobRow& row : rows) {  // made while we waited
    if (row.compression == options.compression.type) return DescribeBlob(record, row.descriptor);
  }
  TRY_ASSIGN(const TreeView own, ViewOf({record}, record));
  TRY_ASSIGN(const TreeView lower, ViewOf(below, nullptr));
  TRY_ASSIGN(BlobWriter writer, blobs->Ingest());
  BlobSink sink(&writer);
  const size_t threads = std::max(1U, std::thread::hardware_concurrency());
  archive::LayerBlob made;
  {
    archive::LayerPipeline pipeline(options.compression, sink, *cpu_pool, threads);
    archive::TarWriter tar(pipeline);
    TRY_CTX(WriteLayerTar(activity, own, lower, record->row.standalone, tar), "packing a layer");
    TRY_ASSIGN_CTX(made, pipeline.Finish(), "packing a layer");
  }
  TRY_ASSIGN(const BlobRef blob, writer.Commit(made.digest));
  TRY(LearnDiffId(record, made.diff_id));
  oci::Descriptor descriptor;
  descriptor.media_type = MediaType(options.compression.type);
  descriptor.digest = made.digest;
  descriptor.size = made.bytes;
  TRY(AddBlobRow(record->row.num, descriptor, options.compression.type));
  janitor->WantSync();
  return DescribeBlob(record, descriptor);
}

Result<LayerBlob> Store::Impl::ConvertLayerBlob(const progress::Activity& activity,
                                                const RecordPtr& record, const BlobRow& from,
                                                const LayerBlobOptions& options) {
  const int type = static_cast<int>(options.compression.type);
  TRY_ASSIGN(const KeyedGate::Ticket ticket,
             gate.Enter(activity, fmt::format("layer:{}:{}", record->row.id, type)));
  TRY_ASSIGN(const std::vector<BlobRow> rows, UsableBlobRows(record));
  for (const BlobRow& row : rows) {
    if (row.compression == options.compression.type) return DescribeBlob(record, row.descriptor);
  }
  TRY_ASSIGN(const BlobRef source, FetchBlob(activity, from.descriptor, record->row.id));
  TRY_ASSIGN(const Fd fd, source.Open());
  archive::FdSource file(fd.get());
  TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> tar, archive::Decompress(file));
  TRY_ASSIGN(BlobWriter writer, blobs->Ingest());
  BlobSink sink(&writer);
  archive::LayerBlob made;
  {
    archive::LayerPipeline pipeline(options.compression, sink, *cpu_pool,
                                    std::max(1U, std::thread::hardware_concurrency()));
    std::vector<char> buffer(1 << 20);
    while (true) {
      TRY(activity.Check());
      TRY_ASSIGN_CTX(const size_t count, tar->Read(buffer.data(), buffer.size()),
                     "converting layer {}", from.descriptor.digest);
      if (count == 0) break;
      TRY(pipeline.Write({buffer.data(), count}));
    }
    TRY_ASSIGN(made, pipeline.Finish());
  }
  {
    std::lock_guard guard(record->mutex);
    if (record->diff_id && *record->diff_id != made.diff_id) {
      return DataLoss("layer {}: its content has diff id {}, the image says {}",
                      from.descriptor.digest, made.diff_id, *record->diff_id);
    }
  }
  TRY_ASSIGN(const BlobRef blob, writer.Commit(made.digest));
  oci::Descriptor descriptor = from.descriptor;
  descriptor.media_type = MediaType(options.compression.type);
  descriptor.digest = made.digest;
  descriptor.size = made.bytes;
  TRY(AddBlobRow(record->row.num, descriptor, options.compression.type));
  janitor->WantSync();
  return DescribeBlob(record, descriptor);
}

Result<std::vector<LayerBlob>> Store::LayerBlobs(const progress::Activity& activity,
                                                 const SnapshotRef& wanted,
                                                 const LayerBlobOptions& options) {
  SnapshotRef ref = wanted;
  if (ref.is_ephemeral()) {
    TRY_ASSIGN(ref, impl_->SolidTwin(activity, ref));
  }
  const std::vector<RecordPtr> chain = ChainOf(ref.state_);
  std::vector<LayerBlob> layers;
  for (size_t i = 0; i < chain.size(); ++i) {
    const RecordPtr& record = chain[i];
    TRY_ASSIGN(const std::vector<Impl::BlobRow> rows, impl_->UsableBlobRows(record));
    const Impl::BlobRow* best = nullptr;
    for (const Impl::BlobRow& row : rows) {
      if (best == nullptr || row.compression == options.compression.type) best = &row;
      if (row.compression == options.compression.type) break;
    }
    if (best != nullptr && (!options.force || best->compression == options.compression.type)) {
      TRY_ASSIGN(LayerBlob layer, impl_->DescribeBlob(record, best->descriptor));
      layers.push_back(std::move(layer));
      continue;
    }
    if (best != nullptr) {
      TRY_ASSIGN(LayerBlob layer, impl_->ConvertLayerBlob(activity, record, *best, options));
      layers.push_back(std::move(layer));
      continue;
    }
    // What the layer was made on: that decides what it deletes, wherever it stands now.
    const std::vector<RecordPtr> below = VisibleChainOf(record->parent);
    TRY(impl_->EnsureLocal(activity, SnapshotRef(record)));
    TRY_ASSIGN(LayerBlob layer, impl_->MakeLayerBlob(activity, record, below, options));
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<std::vector<std::optional<LayerBlob>>> Store::KnownLayerBlobs(const SnapshotRef& ref) {
  std::vector<std::optional<LayerBlob>> layers;
  for (const RecordPtr& record : ChainOf(ref.state_)) {
    TRY_ASSIGN(const std::vector<Impl::BlobRow> rows, impl_->BlobRows(record->row.num));
    if (record->frozen != nullptr || rows.empty()) {
      layers.emplace_back();
      continue;
    }
    TRY_ASSIGN(LayerBlob layer, impl_->DescribeBlob(record, rows[0].descriptor));
    layers.emplace_back(std::move(layer));
  }
  return layers;
}

}  // namespace kiln::store
