#pragma once

#include <set>
#include <span>
#include <string>
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
  // What an image says about each of `records`. The first `known` were here before it: it may say
  // where their blobs lie, but not which they are.
  Status AddImported(std::span<const RecordPtr> records, std::span<const LazyLayer> layers,
                     size_t known);
  // Whether that is a blob of the layer, as it is.
  Result<bool> Has(int64_t num, const Digest& digest);
  // Forgets a blob that turned out to be something else. The last one stays, so that whoever named
  // it is told the same again.
  Status DropUnlessLast(int64_t num, const Digest& digest);
  // The newest first.
  Result<std::vector<Locator>> LocatorsOf(const Digest& digest);
  // Of a blob that is a layer's; else nothing is noted.
  Status AddLocator(const Digest& blob, const Locator& locator);
  // Of this kind only the last few places of a blob are kept. Before the first import.
  void KeepFew(std::string kind) { kept_few_.insert(std::move(kind)); }

 private:
  Status InsertLocator(SqliteConnection& db, const Digest& digest, const Locator& locator);

  Root* const root_;
  std::set<std::string> kept_few_;
};

}  // namespace kiln::store
