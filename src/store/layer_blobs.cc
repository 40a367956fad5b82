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
  MutexLock guard(record->mutex);
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

Result<Store::Impl::Packed> Store::Impl::Pack(
    const archive::CompressionOptions& compression,
    const std::function<Status(archive::ByteSink&)>& fill) {
  TRY_ASSIGN(BlobWriter writer, blobs->Ingest());
  BlobSink sink(&writer);
  Packed packed;
  {
    archive::LayerPipeline pipeline(compression, sink, *cpu_pool,
                                    std::max(1U, std::thread::hardware_concurrency()));
    TRY(fill(pipeline));
    TRY_ASSIGN_CTX(packed.made, pipeline.Finish(), "packing a layer");
  }
  TRY_ASSIGN(packed.blob, writer.Commit(packed.made.digest));
  return packed;
}

Status Store::Impl::WriteTar(const progress::Activity& activity, const RecordPtr& record,
                             std::optional<WallTime> latest, archive::ByteSink& out) {
  // What the layer was made on: that decides what it deletes, wherever it stands now.
  const std::vector<RecordPtr> below = VisibleChainOf(record->parent);
  TRY_ASSIGN(const TreeView own, ViewOf({record}, record));
  TRY_ASSIGN(const TreeView lower, ViewOf(below, nullptr));
  archive::TarWriter tar(out, latest);
  TRY_CTX(WriteLayerTar(activity, own, lower, record->row.standalone, tar), "packing a layer");
  return OkStatus();
}

namespace {

Status CopyBytes(const progress::Activity& activity, archive::ByteSource& from,
                 archive::ByteSink& out) {
  std::vector<char> buffer(1 << 20);
  while (true) {
    TRY(activity.Check());
    TRY_ASSIGN(const size_t count, from.Read(buffer.data(), buffer.size()));
    if (count == 0) return OkStatus();
    TRY(out.Write({buffer.data(), count}));
  }
}

// Entry by entry, with no time later than `latest`.
Status CopyEntries(const progress::Activity& activity, archive::ByteSource& from, WallTime latest,
                   archive::ByteSink& out) {
  archive::TarReader reader(from);
  archive::TarWriter writer(out, latest);
  archive::TarEntry entry;
  std::vector<char> buffer(256 << 10);
  while (true) {
    TRY(activity.Check());
    TRY_ASSIGN(const bool more, reader.Next(&entry));
    if (!more) break;
    if (entry.path.empty()) entry.path = ".";
    TRY(writer.Add(entry));
    while (entry.type == archive::EntryType::kFile && entry.size > 0) {
      TRY_ASSIGN(const size_t count, reader.Read(buffer.data(), buffer.size()));
      if (count == 0) break;
      TRY(writer.WriteData({buffer.data(), count}));
    }
  }
  TRY(writer.Finish());
  return archive::Drain(from);
}

}  // namespace

Status Store::Impl::CopyTar(const progress::Activity& activity, const RecordPtr& record,
                            const oci::Descriptor& from, std::optional<WallTime> latest,
                            archive::ByteSink& out) {
  TRY_ASSIGN(const BlobRef source, FetchBlob(activity, from, record->row.id));
  TRY_ASSIGN(const Fd fd, source.Open());
  archive::FdSource file(fd.get());
  TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> tar, archive::Decompress(file));
  archive::HashingSource hashed(*tar);
  TRY_CTX(latest ? CopyEntries(activity, hashed, *latest, out) : CopyBytes(activity, hashed, out),
          "converting layer {}", from.digest);
  const Digest diff_id = hashed.Finish();
  MutexLock guard(record->mutex);
  if (record->diff_id && *record->diff_id != diff_id) {
    return DataLoss("layer {}: its content has diff id {}, the image says {}", from.digest, diff_id,
                    *record->diff_id);
  }
  return OkStatus();
}

Result<LayerBlob> Store::Impl::MakeLayerBlob(const progress::Activity& activity,
                                             const RecordPtr& record,
                                             const LayerBlobOptions& options) {
  const archive::Compression type = options.compression.type;
  TRY_ASSIGN(
      const KeyedGate::Ticket ticket,
      gate.Enter(activity, fmt::format("layer:{}:{}", record->row.id, static_cast<int>(type))));
  TRY_ASSIGN(const std::vector<BlobRow> rows, UsableBlobRows(record));
  for (const BlobRow& row : rows) {  // made while we waited
    if (row.compression == type) return DescribeBlob(record, row.descriptor);
  }
  TRY_ASSIGN(const Packed packed, Pack(options.compression, [&](archive::ByteSink& out) {
               return WriteTar(activity, record, std::nullopt, out);
             }));
  TRY(LearnDiffId(record, packed.made.diff_id));
  oci::Descriptor descriptor;
  descriptor.media_type = MediaType(type);
  descriptor.digest = packed.made.digest;
  descriptor.size = packed.made.bytes;
  TRY(AddBlobRow(record->row.num, descriptor, type));
  janitor->WantSync();
  return DescribeBlob(record, descriptor);
}

Result<LayerBlob> Store::Impl::ConvertLayerBlob(const progress::Activity& activity,
                                                const RecordPtr& record, const BlobRow& from,
                                                const LayerBlobOptions& options) {
  const archive::Compression type = options.compression.type;
  TRY_ASSIGN(
      const KeyedGate::Ticket ticket,
      gate.Enter(activity, fmt::format("layer:{}:{}", record->row.id, static_cast<int>(type))));
  TRY_ASSIGN(const std::vector<BlobRow> rows, UsableBlobRows(record));
  for (const BlobRow& row : rows) {
    if (row.compression == type) return DescribeBlob(record, row.descriptor);
  }
  TRY_ASSIGN(const Packed packed, Pack(options.compression, [&](archive::ByteSink& out) {
               return CopyTar(activity, record, from.descriptor, std::nullopt, out);
             }));
  oci::Descriptor descriptor = from.descriptor;
  descriptor.media_type = MediaType(type);
  descriptor.digest = packed.made.digest;
  descriptor.size = packed.made.bytes;
  TRY(AddBlobRow(record->row.num, descriptor, type));
  janitor->WantSync();
  return DescribeBlob(record, descriptor);
}

Result<std::optional<LayerBlob>> Store::Impl::FindClampedBlob(const RecordPtr& record,
                                                              archive::Compression compression,
                                                              const std::string& epoch) {
  TRY_ASSIGN(const std::vector<BlobRow> rows, BlobRows(record->row.num, BlobKind::kClamped));
  for (const BlobRow& row : rows) {
    const auto& annotations = row.descriptor.annotations;
    const auto at = annotations.find(std::string(kRewrittenAnnotation));
    const auto diff_id = annotations.find(std::string(oci::kAnnotationUncompressed));
    if (row.compression != compression || at == annotations.end() || at->second != epoch ||
        diff_id == annotations.end() || !blobs->Has(row.descriptor.digest))
      continue;
    TRY_ASSIGN(LayerBlob layer, DescribeBlob(record, row.descriptor));
    TRY_ASSIGN(layer.diff_id, Digest::Parse(diff_id->second));
    return std::optional(std::move(layer));
  }
  return std::optional<LayerBlob>();
}

Result<LayerBlob> Store::Impl::ClampLayerBlob(const progress::Activity& activity,
                                              const RecordPtr& record,
                                              const LayerBlobOptions& options) {
  const archive::Compression type = options.compression.type;
  const std::string epoch = std::to_string(options.clamp->epoch_seconds);
  const WallTime latest{std::chrono::seconds(options.clamp->epoch_seconds)};
  TRY_ASSIGN(const KeyedGate::Ticket ticket,
             gate.Enter(activity, fmt::format("layer:{}:{}:{}", record->row.id,
                                              static_cast<int>(type), epoch)));
  TRY_ASSIGN(std::optional<LayerBlob> known, FindClampedBlob(record, type, epoch));
  if (known) return std::move(*known);
  TRY_ASSIGN(const std::vector<BlobRow> rows, UsableBlobRows(record));
  if (rows.empty()) TRY(EnsureLocal(activity, SnapshotRef(record)));
  TRY_ASSIGN(const Packed packed, Pack(options.compression, [&](archive::ByteSink& out) {
               return rows.empty() ? WriteTar(activity, record, latest, out)
                                   : CopyTar(activity, record, rows[0].descriptor, latest, out);
             }));
  oci::Descriptor descriptor;
  descriptor.media_type = MediaType(type);
  descriptor.digest = packed.made.digest;
  descriptor.size = packed.made.bytes;
  descriptor.annotations[std::string(kRewrittenAnnotation)] = epoch;
  descriptor.annotations[std::string(oci::kAnnotationUncompressed)] =
      packed.made.diff_id.ToString();
  TRY(AddBlobRow(record->row.num, descriptor, type, BlobKind::kClamped));
  janitor->WantSync();
  TRY_ASSIGN(LayerBlob layer, DescribeBlob(record, descriptor));
  layer.diff_id = packed.made.diff_id;
  return layer;
}

Result<LayerBlob> Store::Impl::OneLayerBlob(const progress::Activity& activity,
                                            const RecordPtr& record,
                                            const LayerBlobOptions& options) {
  TRY_ASSIGN(const std::vector<BlobRow> rows, UsableBlobRows(record));
  const BlobRow* best = nullptr;
  for (const BlobRow& row : rows) {
    if (best == nullptr || row.compression == options.compression.type) best = &row;
    if (row.compression == options.compression.type) break;
  }
  if (best == nullptr) {
    TRY(EnsureLocal(activity, SnapshotRef(record)));
    return MakeLayerBlob(activity, record, options);
  }
  if (!options.force || best->compression == options.compression.type)
    return DescribeBlob(record, best->descriptor);
  return ConvertLayerBlob(activity, record, *best, options);
}

Result<std::vector<LayerBlob>> Store::LayerBlobs(const progress::Activity& activity,
                                                 const SnapshotRef& wanted,
                                                 const LayerBlobOptions& options) {
  SnapshotRef ref = wanted;
  if (ref.is_ephemeral()) {
    TRY_ASSIGN(ref, impl_->SolidTwin(activity, ref));
  }
  std::vector<LayerBlob> layers;
  bool kept = options.clamp.has_value();
  for (const RecordPtr& record : ChainOf(ref.state_)) {
    if (kept) {
      MutexLock guard(record->mutex);
      const auto& base = options.clamp->kept;
      kept = layers.size() < base.size() && record->diff_id == base[layers.size()];
    }
    const bool clamped = options.clamp && !kept;
    TRY_ASSIGN(LayerBlob layer, clamped ? impl_->ClampLayerBlob(activity, record, options)
                                        : impl_->OneLayerBlob(activity, record, options));
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
