#pragma once

#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "store/snapshots.h"

namespace kiln::store {

// The room of layers as blobs: the ones they came as, and those made here from their files. Safe
// from any thread.
class LayerBlobs {
 public:
  LayerBlobs(Root* root, Records* records, LayerRows* rows, Views* views, BlobStore* blobs,
             Fetcher* fetcher, Layers* layers, Snapshots* snapshots)
      : root_(root),
        records_(records),
        rows_(rows),
        views_(views),
        blobs_(blobs),
        fetcher_(fetcher),
        layers_(layers),
        snapshots_(snapshots) {}

  // Store::LayerBlobs.
  Result<std::vector<LayerBlob>> Of(const progress::Activity& activity, const SnapshotRef& ref,
                                    const LayerBlobOptions& options);
  // Store::KnownLayerBlobs.
  Result<std::vector<std::optional<LayerBlob>>> Known(const SnapshotRef& ref);

 private:
  struct Packed {
    archive::LayerBlob made;
    BlobRef blob;
  };
  Result<bool> IsUsable(const RecordPtr& record, const BlobRow& row);
  Result<std::vector<BlobRow>> UsableBlobRows(const RecordPtr& record);
  Result<LayerBlob> Describe(const RecordPtr& record, const oci::Descriptor& descriptor);
  // One pass from the tar that `fill` writes to a blob.
  Result<Packed> Pack(const archive::CompressionOptions& options,
                      const std::function<Status(archive::ByteSink&)>& fill);
  // The layer's tar, from its snapshot or from a blob of it.
  Status WriteTar(const progress::Activity& activity, const RecordPtr& record,
                  std::optional<WallTime> latest, archive::ByteSink& out);
  Status CopyTar(const progress::Activity& activity, const RecordPtr& record,
                 const oci::Descriptor& from, std::optional<WallTime> latest,
                 archive::ByteSink& out);
  Result<LayerBlob> Make(const progress::Activity& activity, const RecordPtr& record,
                         const LayerBlobOptions& options);
  Result<LayerBlob> Convert(const progress::Activity& activity, const RecordPtr& record,
                            const BlobRow& from, const LayerBlobOptions& options);
  Result<std::optional<LayerBlob>> FindClamped(const RecordPtr& record,
                                               archive::Compression compression,
                                               const std::string& epoch);
  Result<LayerBlob> Clamp(const progress::Activity& activity, const RecordPtr& record,
                          const LayerBlobOptions& options);
  Result<LayerBlob> One(const progress::Activity& activity, const RecordPtr& record,
                        const LayerBlobOptions& options);

  Root* const root_;
  Records* const records_;
  LayerRows* const rows_;
  Views* const views_;
  BlobStore* const blobs_;
  Fetcher* const fetcher_;
  Layers* const layers_;
  Snapshots* const snapshots_;
  KeyedGate gate_;  // one blob of a layer is made at a time
  WorkerPool pool_{"store-cpu", std::max(1U, std::thread::hardware_concurrency()) + 1};
};

}  // namespace kiln::store
