#pragma once

#include <array>
#include <string_view>

namespace kiln::store {

// Migrations of store.db: entry n brings version n to n+1. Published ones never change.
// docs/formats.md describes the result.
inline constexpr std::array<std::string_view, 2> kStoreMigrations = {R"sql(
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE records(
  num INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  kind INTEGER NOT NULL,
  parent INTEGER,
  local INTEGER NOT NULL,
  standalone INTEGER NOT NULL DEFAULT 0,
  diff_id BLOB,
  chain_id BLOB,
  type TEXT NOT NULL,
  description TEXT NOT NULL,
  created INTEGER NOT NULL,
  last_used INTEGER,
  usage_count INTEGER NOT NULL DEFAULT 0,
  size INTEGER,
  named_key TEXT,
  dirty INTEGER NOT NULL DEFAULT 0,
  seq INTEGER NOT NULL
);
CREATE INDEX records_parent ON records(parent) WHERE parent IS NOT NULL;
CREATE INDEX records_chain ON records(chain_id) WHERE chain_id IS NOT NULL;
CREATE INDEX records_key ON records(named_key) WHERE named_key IS NOT NULL;
CREATE INDEX records_seq ON records(seq);
CREATE TABLE record_inputs(record INTEGER, position INTEGER, input INTEGER NOT NULL, PRIMARY KEY(record, position)) WITHOUT ROWID;
CREATE INDEX record_inputs_input ON record_inputs(input);
CREATE TABLE labels(record INTEGER, name TEXT, value TEXT NOT NULL, PRIMARY KEY(record, name)) WITHOUT ROWID;
CREATE INDEX labels_value ON labels(name, value);
CREATE TABLE blobs(digest BLOB PRIMARY KEY, size INTEGER NOT NULL, created INTEGER NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX blobs_seq ON blobs(seq);
CREATE TABLE blob_labels(digest BLOB, name TEXT, value TEXT NOT NULL, PRIMARY KEY(digest, name)) WITHOUT ROWID;
CREATE TABLE layer_blobs(
  record INTEGER, digest BLOB, position INTEGER NOT NULL, compression INTEGER NOT NULL, descriptor TEXT NOT NULL,
  PRIMARY KEY(record, digest)) WITHOUT ROWID;
CREATE INDEX layer_blobs_digest ON layer_blobs(digest);
CREATE TABLE locators(digest BLOB, kind TEXT, value TEXT, PRIMARY KEY(digest, kind, value)) WITHOUT ROWID;
CREATE TABLE pins(owner TEXT, digest BLOB, until INTEGER, PRIMARY KEY(owner, digest)) WITHOUT ROWID;
CREATE INDEX pins_digest ON pins(digest);
)sql",
                                                                     R"sql(
ALTER TABLE locators ADD COLUMN added INTEGER NOT NULL DEFAULT 0;
ALTER TABLE records ADD COLUMN linked INTEGER NOT NULL DEFAULT 0;
UPDATE records SET size=NULL;
-- What other images claimed of a layer, as far as nobody can have verified it.
DELETE FROM layer_blobs WHERE compression<16 AND position>(
    SELECT min(l.position) FROM layer_blobs l WHERE l.record=layer_blobs.record AND l.compression<16)
  AND (EXISTS(SELECT 1 FROM records r WHERE r.num=record AND r.local=0)
    OR NOT EXISTS(SELECT 1 FROM blobs b WHERE b.digest=layer_blobs.digest));
DELETE FROM locators WHERE NOT EXISTS(SELECT 1 FROM layer_blobs l WHERE l.digest=locators.digest)
  AND NOT EXISTS(SELECT 1 FROM blobs b WHERE b.digest=locators.digest);
DELETE FROM blob_labels WHERE NOT EXISTS(SELECT 1 FROM layer_blobs l WHERE l.digest=blob_labels.digest)
  AND NOT EXISTS(SELECT 1 FROM blobs b WHERE b.digest=blob_labels.digest);
)sql"};

}  // namespace kiln::store
