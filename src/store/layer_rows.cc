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

Status InsertBlobRow(SqliteConnection& db, int64_t num, const oci::Descriptor& blob,
                     archive::Compression compression, int64_t offset = 0) {
  TRY_ASSIGN(
      SqliteStatement insert,
      db.Prepare("INSERT OR IGNORE INTO layer_blobs(record,digest,position,compression,descriptor) "
                 "SELECT ?1,?2,(SELECT coalesce(max(position)+1,0) FROM layer_blobs WHERE "
                 "record=?1),?3,?4"));
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

Status LayerRows::AddImported(std::span<const RecordPtr> records, std::span<const LazyLayer> layers,
                              size_t known) {
  return root_->database().Write([&](SqliteConnection& db) -> Status {
    for (size_t i = 0; i < layers.size(); ++i) {
      const oci::Descriptor& blob = layers[i].blob;
      if (i >= known) TRY(InsertBlobRow(db, records[i]->row.num, blob, CompressionOf(blob)));
      for (const Locator& locator : layers[i].locators)
        TRY(InsertLocator(db, blob.digest, locator));
    }
    return OkStatus();
  });
}

// Only of blobs that are a layer's, since it goes with the last of those.
Status LayerRows::InsertLocator(SqliteConnection& db, const Digest& digest,
                                const Locator& locator) {
  constexpr int64_t kFew = 4;
  TRY_ASSIGN(SqliteStatement insert,
             db.Prepare("INSERT INTO locators(digest,kind,value,added) SELECT ?1,?2,?3,?4 WHERE "
                        "EXISTS(SELECT 1 FROM layer_blobs WHERE digest=?1) ON "
                        "CONFLICT(digest,kind,value) DO UPDATE SET added=excluded.added"));
  TRY(insert.Bind(digest)
          .Bind(locator.kind)
          .Bind(locator.value)
          .Bind(UnixNanos(root_->clock().Now()))
          .Run());
  if (!kept_few_.contains(locator.kind)) return OkStatus();
  TRY_ASSIGN(SqliteStatement erase,
             db.Prepare("DELETE FROM locators WHERE digest=?1 AND kind=?2 AND value NOT IN (SELECT "
                        "value FROM locators WHERE digest=?1 AND kind=?2 ORDER BY value=?3 DESC, "
                        "added DESC LIMIT ?4)"));
  return erase.Bind(digest).Bind(locator.kind).Bind(locator.value).Bind(kFew).Run();
}

Status LayerRows::AddLocator(const Digest& blob, const Locator& locator) {
  return root_->database().Write(
      [&](SqliteConnection& db) { return InsertLocator(db, blob, locator); });
}

Result<bool> LayerRows::Has(int64_t num, const Digest& digest) {
  bool has = false;
  TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(
        SqliteStatement query,
        db.Prepare("SELECT 1 FROM layer_blobs WHERE record=? AND digest=? AND compression<16"));
    TRY_ASSIGN(has, query.Bind(num).Bind(digest).Step());
    return OkStatus();
  }));
  return has;
}

Status LayerRows::DropUnlessLast(int64_t num, const Digest& digest) {
  return root_->database().Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement erase,
               db.Prepare("DELETE FROM layer_blobs WHERE record=?1 AND digest=?2 AND EXISTS(SELECT "
                          "1 FROM layer_blobs WHERE record=?1 AND digest<>?2 AND compression<16)"));
    return erase.Bind(num).Bind(digest).Run();
  });
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
    TRY_ASSIGN(
        SqliteStatement query,
        db.Prepare(
            "SELECT kind,value FROM locators WHERE digest=? ORDER BY added DESC, kind, value"));
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
