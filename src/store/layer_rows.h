#pragma once

#include <span>
#include <vector>

#include "archive/compression.h"
#include "store/layer.h"
#include "store/record.h"
#include "store/root.h"

namespace kiln::store {

struct BlobRow {
  oci::Descriptor descriptor;
  archive::Compression compression;
};

// Added to the compression in the database.
enum class BlobKind : int64_t { kLayer = 0, kClamped = 16 };

// The tables `layer_blobs` and `locators`: which blobs a layer has, here or not, and where blobs
// may be had. Safe from any thread.
class LayerRows {
 public:
  explicit LayerRows(Root* root) : root_(root) {}

  // In the order in which they became known.
  Result<std::vector<BlobRow>> Of(int64_t num, BlobKind kind = BlobKind::kLayer);
  Status Add(int64_t num, const oci::Descriptor& blob, archive::Compression compression,
             BlobKind kind = BlobKind::kLayer);
  // What an image says about each of `records`.
  Status AddImported(std::span<const RecordPtr> records, std::span<const LazyLayer> layers);
  Result<std::vector<Locator>> LocatorsOf(const Digest& digest);
  Status AddLocators(const Digest& blob, const std::vector<Locator>& locators);

 private:
  Root* const root_;
};

}  // namespace kiln::store
