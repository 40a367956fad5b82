#include "store/layer_rows.h"

#include "oci/media_type.h"

namespace kiln::store {
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

Status LayerRows::Add(int64_t num, const oci::Descriptor& blob, archive::Compression compression,
                      BlobKind kind) {
  return root_->database().Write([&](SqliteConnection& db) {
    return InsertBlobRow(db, num, blob, compression, static_cast<int64_t>(kind));
  });
}

Status LayerRows::AddImported(std::span<const RecordPtr> records,
                              std::span<const LazyLayer> layers) {
  return root_->database().Write([&](SqliteConnection& db) -> Status {
    for (size_t i = 0; i < layers.size(); ++i) {
      const oci::Descriptor& blob = layers[i].blob;
      TRY(InsertBlobRow(db, records[i]->row.num, blob, CompressionOf(blob)));
      TRY(InsertLocators(db, blob.digest, layers[i].locators));
    }
    return OkStatus();
  });
}

Status LayerRows::AddLocators(const Digest& blob, const std::vector<Locator>& locators) {
  if (locators.empty()) return OkStatus();
  return root_->database().Write(
      [&](SqliteConnection& db) { return InsertLocators(db, blob, locators); });
}

Result<std::vector<BlobRow>> LayerRows::Of(int64_t num, BlobKind kind) {
  const auto first = static_cast<int64_t>(kind);
  std::vector<BlobRow> rows;
  TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
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

Result<std::vector<Locator>> LayerRows::LocatorsOf(const Digest& digest) {
  std::vector<Locator> locators;
  TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
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

}  // namespace kiln::store
