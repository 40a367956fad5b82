#include "store/layer_blobs.h"

#include "archive/compression.h"
#include "oci/media_type.h"
#include "store/layer_tar.h"

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

Result<LayerBlob> LayerBlobs::Describe(const RecordPtr& record, const oci::Descriptor& descriptor) {
  LayerBlob layer;
  layer.descriptor = descriptor;
  layer.local = blobs_->Has(descriptor.digest);
  TRY_ASSIGN(layer.locators, rows_->LocatorsOf(descriptor.digest));
  layer.created = record->row.created;
  layer.description = record->row.description;
  MutexLock guard(record->mutex);
  layer.diff_id = record->diff_id.value_or(Digest());
  return layer;
}

// Whether the blob can be had, or else could only be asked for. After a power cut a blob made here
// may be gone while its layer is there.
Result<bool> LayerBlobs::IsUsable(const RecordPtr& record, const BlobRow& row) {
  if (!record->local || blobs_->Has(row.descriptor.digest)) return true;
  TRY_ASSIGN(const std::vector<Locator> locators, rows_->LocatorsOf(row.descriptor.digest));
  return !locators.empty();
}

Result<std::vector<BlobRow>> LayerBlobs::UsableBlobRows(const RecordPtr& record) {
  TRY_ASSIGN(std::vector<BlobRow> rows, rows_->Of(record->row.num));
  std::vector<BlobRow> usable;
  for (BlobRow& row : rows) {
    TRY_ASSIGN(const bool good, IsUsable(record, row));
    if (good) usable.push_back(std::move(row));
  }
  return usable;
}

Result<LayerBlobs::Packed> LayerBlobs::Pack(const archive::CompressionOptions& compression,
                                            const std::function<Status(archive::ByteSink&)>& fill) {
  TRY_ASSIGN(BlobWriter writer, blobs_->Ingest());
  BlobSink sink(&writer);
  Packed packed;
  {
    archive::LayerPipeline pipeline(compression, sink, pool_,
                                    std::max(1U, std::thread::hardware_concurrency()));
    TRY(fill(pipeline));
    TRY_ASSIGN_CTX(packed.made, pipeline.Finish(), "packing a layer");
  }
  TRY_ASSIGN(packed.blob, writer.Commit(packed.made.digest));
  return packed;
}

Status LayerBlobs::WriteTar(const progress::Activity& activity, const RecordPtr& record,
                            std::optional<WallTime> latest, archive::ByteSink& out) {
  // What the layer was made on: that decides what it deletes, wherever it stands now.
  const std::vector<RecordPtr> below = VisibleChainOf(record->parent);
  TRY_ASSIGN(const TreeView own, views_->ViewOf({record}, record));
  TRY_ASSIGN(const TreeView lower, views_->ViewOf(below, nullptr));
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

Status LayerBlobs::CopyTar(const progress::Activity& activity, const RecordPtr& record,
                           const oci::Descriptor& from, std::optional<WallTime> latest,
                           archive::ByteSink& out) {
  TRY_ASSIGN(const BlobRef source, fetcher_->Fetch(activity, from, record->row.id));
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

Result<LayerBlob> LayerBlobs::Make(const progress::Activity& activity, const RecordPtr& record,
                                   const LayerBlobOptions& options) {
  const archive::Compression type = options.compression.type;
  TRY_ASSIGN(const KeyedGate::Ticket ticket,
             gate_.Enter(activity, fmt::format("{}:{}", record->row.id, static_cast<int>(type))));
  TRY_ASSIGN(const std::vector<BlobRow> rows, UsableBlobRows(record));
  for (const BlobRow& row : rows) {  // made while we waited
    if (row.compression == type) return Describe(record, row.descriptor);
  }
  TRY_ASSIGN(const Packed packed, Pack(options.compression, [&](archive::ByteSink& out) {
               return WriteTar(activity, record, std::nullopt, out);
             }));
  TRY(records_->LearnDiffId(record, packed.made.diff_id));
  oci::Descriptor descriptor;
  descriptor.media_type = MediaType(type);
  descriptor.digest = packed.made.digest;
  descriptor.size = packed.made.bytes;
  TRY(rows_->Add(record->row.num, descriptor, type));
  root_->janitor().WantSync();
  return Describe(record, descriptor);
}

Result<LayerBlob> LayerBlobs::Convert(const progress::Activity& activity, const RecordPtr& record,
                                      const BlobRow& from, const LayerBlobOptions& options) {
  const archive::Compression type = options.compression.type;
  TRY_ASSIGN(const KeyedGate::Ticket ticket,
             gate_.Enter(activity, fmt::format("{}:{}", record->row.id, static_cast<int>(type))));
  TRY_ASSIGN(const std::vector<BlobRow> rows, UsableBlobRows(record));
  for (const BlobRow& row : rows) {
    if (row.compression == type) return Describe(record, row.descriptor);
  }
  TRY_ASSIGN(const Packed packed, Pack(options.compression, [&](archive::ByteSink& out) {
               return CopyTar(activity, record, from.descriptor, std::nullopt, out);
             }));
  oci::Descriptor descriptor = from.descriptor;
  descriptor.media_type = MediaType(type);
  descriptor.digest = packed.made.digest;
  descriptor.size = packed.made.bytes;
  TRY(rows_->Add(record->row.num, descriptor, type));
  root_->janitor().WantSync();
  return Describe(record, descriptor);
}

Result<std::optional<LayerBlob>> LayerBlobs::FindClamped(const RecordPtr& record,
                                                         archive::Compression compression,
                                                         const std::string& epoch) {
  TRY_ASSIGN(const std::vector<BlobRow> rows, rows_->Of(record->row.num, BlobKind::kClamped));
  for (const BlobRow& row : rows) {
    const auto& annotations = row.descriptor.annotations;
    const auto at = annotations.find(std::string(kRewrittenAnnotation));
    const auto diff_id = annotations.find(std::string(oci::kAnnotationUncompressed));
    if (row.compression != compression || at == annotations.end() || at->second != epoch ||
        diff_id == annotations.end() || !blobs_->Has(row.descriptor.digest))
      continue;
    TRY_ASSIGN(LayerBlob layer, Describe(record, row.descriptor));
    TRY_ASSIGN(layer.diff_id, Digest::Parse(diff_id->second));
    return std::optional(std::move(layer));
  }
  return std::optional<LayerBlob>();
}

Result<LayerBlob> LayerBlobs::Clamp(const progress::Activity& activity, const RecordPtr& record,
                                    const LayerBlobOptions& options) {
  const archive::Compression type = options.compression.type;
  const std::string epoch = std::to_string(options.clamp->epoch_seconds);
  const WallTime latest{std::chrono::seconds(options.clamp->epoch_seconds)};
  TRY_ASSIGN(const KeyedGate::Ticket ticket,
             gate_.Enter(activity,
                         fmt::format("{}:{}:{}", record->row.id, static_cast<int>(type), epoch)));
  TRY_ASSIGN(std::optional<LayerBlob> known, FindClamped(record, type, epoch));
  if (known) return std::move(*known);
  TRY_ASSIGN(const std::vector<BlobRow> rows, UsableBlobRows(record));
  if (rows.empty()) TRY(layers_->EnsureLocal(activity, SnapshotRef(record)));
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
  TRY(rows_->Add(record->row.num, descriptor, type, BlobKind::kClamped));
  root_->janitor().WantSync();
  TRY_ASSIGN(LayerBlob layer, Describe(record, descriptor));
  layer.diff_id = packed.made.diff_id;
  return layer;
}

Result<LayerBlob> LayerBlobs::One(const progress::Activity& activity, const RecordPtr& record,
                                  const LayerBlobOptions& options) {
  TRY_ASSIGN(const std::vector<BlobRow> rows, UsableBlobRows(record));
  const BlobRow* best = nullptr;
  for (const BlobRow& row : rows) {
    if (best == nullptr || row.compression == options.compression.type) best = &row;
    if (row.compression == options.compression.type) break;
  }
  if (best == nullptr) {
    TRY(layers_->EnsureLocal(activity, SnapshotRef(record)));
    return Make(activity, record, options);
  }
  if (!options.force || best->compression == options.compression.type)
    return Describe(record, best->descriptor);
  return Convert(activity, record, *best, options);
}

Result<std::vector<LayerBlob>> LayerBlobs::Of(const progress::Activity& activity,
                                              const SnapshotRef& wanted,
                                              const LayerBlobOptions& options) {
  SnapshotRef ref = wanted;
  if (ref.is_ephemeral()) {
    TRY_ASSIGN(ref, snapshots_->SolidTwin(activity, ref));
  }
  std::vector<LayerBlob> layers;
  bool kept = options.clamp.has_value();
  for (const RecordPtr& record : ChainOf(ref.record())) {
    if (kept) {
      MutexLock guard(record->mutex);
      const auto& base = options.clamp->kept;
      kept = layers.size() < base.size() && record->diff_id == base[layers.size()];
    }
    const bool clamped = options.clamp && !kept;
    TRY_ASSIGN(LayerBlob layer,
               clamped ? Clamp(activity, record, options) : One(activity, record, options));
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<std::vector<std::optional<LayerBlob>>> LayerBlobs::Known(const SnapshotRef& ref) {
  std::vector<std::optional<LayerBlob>> layers;
  for (const RecordPtr& record : ChainOf(ref.record())) {
    TRY_ASSIGN(const std::vector<BlobRow> rows, rows_->Of(record->row.num));
    if (record->frozen != nullptr || rows.empty()) {
      layers.emplace_back();
      continue;
    }
    TRY_ASSIGN(LayerBlob layer, Describe(record, rows[0].descriptor));
    layers.emplace_back(std::move(layer));
  }
  return layers;
}

}  // namespace kiln::store
