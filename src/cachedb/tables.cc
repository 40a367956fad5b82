#include "cachedb/tables.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/strings.h"

namespace kiln::cachedb {
namespace {

constexpr size_t kMaxChildren = 64;
constexpr size_t kInlineValueBytes = 256;

// docs/formats.md, "cache.db".
constexpr std::string_view kSchema1 = R"sql(
CREATE TABLE texts(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE keys(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE links(
  parent INTEGER NOT NULL, input INTEGER NOT NULL, digest INTEGER NOT NULL, output INTEGER NOT NULL,
  selector INTEGER NOT NULL, child INTEGER NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY(parent, input, digest, output, selector, child)) WITHOUT ROWID;
CREATE INDEX links_by_child ON links(child);
CREATE TABLE records(
  id INTEGER PRIMARY KEY AUTOINCREMENT, key INTEGER NOT NULL, store_id TEXT NOT NULL, created INTEGER NOT NULL,
  vertex_name TEXT NOT NULL, build_ref TEXT NOT NULL, duration INTEGER NOT NULL, imported_from TEXT NOT NULL,
  capture BLOB NOT NULL);
CREATE INDEX records_by_key ON records(key);
CREATE INDEX records_by_store_id ON records(store_id);
CREATE TABLE runs(
  record INTEGER PRIMARY KEY, build_ref TEXT NOT NULL, reason INTEGER NOT NULL, identity INTEGER NOT NULL,
  nearest INTEGER, label TEXT NOT NULL, was TEXT NOT NULL, now TEXT NOT NULL);
CREATE INDEX runs_by_identity ON runs(identity);
CREATE INDEX runs_by_build ON runs(build_ref);
CREATE TABLE parts(
  record INTEGER NOT NULL, position INTEGER NOT NULL, label INTEGER NOT NULL, value INTEGER NOT NULL,
  PRIMARY KEY(record, position)) WITHOUT ROWID;
CREATE TABLE counter(seq INTEGER NOT NULL);
INSERT INTO counter VALUES(0);
)sql";

// How many records were dropped since texts were last looked through.
constexpr std::string_view kSchema2 =
    "ALTER TABLE counter ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0";

// Texts are looked through when so many records went, and a quarter of all.
constexpr int64_t kSweepTextsAfter = 256;

// Fields of an identity in one text; the separator cannot stand in them.
std::string IdentityText(const solver::OpIdentity& identity) {
  return Join({identity.kind, identity.name, identity.platform, identity.location},
              std::string_view("\0", 1));
}

solver::OpIdentity IdentityFromText(std::string_view text) {
  auto fields = Split(text, '\0');
  fields.resize(4);
  return {std::string(fields[0]), std::string(fields[1]), std::string(fields[2]),
          std::string(fields[3])};
}

// Long values are kept by digest only: enough to say that they differ.
std::string StoredValue(const std::string& value) {
  return value.size() <= kInlineValueBytes ? value : Sha256Of(value).ToString();
}

// In ascending order, each once: rows beside each other lie in the same pages.
std::string JsonOf(std::vector<int64_t> nums) {
  std::sort(nums.begin(), nums.end());
  nums.erase(std::unique(nums.begin(), nums.end()), nums.end());
  return fmt::format("[{}]", fmt::join(nums, ","));
}

}  // namespace

std::vector<std::string_view> Tables::Migrations() { return {kSchema1, kSchema2}; }

Result<std::optional<int64_t>> Tables::FindKey(std::string_view name) {
  TRY_ASSIGN(auto query, db_.Prepare("SELECT id FROM keys WHERE name = ?"));
  TRY_ASSIGN(bool found, query.Bind(name).Step());
  return found ? std::optional(query.Int(0)) : std::nullopt;
}

Result<int64_t> Tables::InternKey(std::string_view name) {
  TRY_ASSIGN(auto known, FindKey(name));
  if (known) return *known;
  TRY_ASSIGN(auto insert, db_.Prepare("INSERT INTO keys(name) VALUES(?) RETURNING id"));
  TRY(insert.Bind(name).Step());
  return insert.Int(0);
}

Result<std::optional<int64_t>> Tables::FindText(std::string_view text) {
  TRY_ASSIGN(auto query, db_.Prepare("SELECT id FROM texts WHERE text = ?"));
  TRY_ASSIGN(bool found, query.Bind(text).Step());
  return found ? std::optional(query.Int(0)) : std::nullopt;
}

Result<int64_t> Tables::InternText(std::string_view text) {
  TRY_ASSIGN(auto known, FindText(text));
  if (known) return *known;
  TRY_ASSIGN(auto insert, db_.Prepare("INSERT INTO texts(text) VALUES(?) RETURNING id"));
  TRY(insert.Bind(text).Step());
  return insert.Int(0);
}

Result<std::vector<solver::LinkChild>> Tables::Children(const solver::LinkTuple& tuple) {
  TRY_ASSIGN(auto query,
             db_.Prepare("SELECT k.name, l.seq FROM links l "
                         "JOIN keys p ON p.id = l.parent JOIN texts d ON d.id = l.digest "
                         "JOIN texts s ON s.id = l.selector JOIN keys k ON k.id = l.child "
                         "WHERE p.name = ? AND l.input = ? AND d.text = ? AND l.output = ? "
                         "AND s.text = ? ORDER BY l.seq DESC LIMIT ?"));
  query.Bind(tuple.parent)
      .Bind(tuple.input)
      .Bind(tuple.digest)
      .Bind(tuple.output)
      .Bind(tuple.selector);
  query.Bind(int64_t{kMaxChildren});
  std::vector<solver::LinkChild> children;
  for (;;) {
    TRY_ASSIGN(bool more, query.Step());
    if (!more) return children;
    children.push_back({query.Text(0), static_cast<uint64_t>(query.Int(1))});
  }
}

Result<solver::KeyInfo> Tables::Key(const solver::KeyId& id) {
  solver::KeyInfo info;
  TRY_ASSIGN(auto key, FindKey(id));
  if (!key) return info;
  info.known = true;
  TRY_ASSIGN(auto query,
             db_.Prepare("SELECT id, created, vertex_name, build_ref, duration FROM records "
                         "WHERE key = ? ORDER BY created DESC, id DESC"));
  query.Bind(*key);
  for (;;) {
    TRY_ASSIGN(bool more, query.Step());
    if (!more) return info;
    solver::RecordInfo record;
    record.id = std::to_string(query.Int(0));
    record.key = id;
    record.created = FromUnixNanos(query.Int(1));
    record.origin = {query.Text(2), query.Text(3), nanoseconds(query.Int(4))};
    info.records.push_back(std::move(record));
  }
}

Result<std::vector<solver::ParentLink>> Tables::ParentsOf(const solver::KeyId& id) {
  TRY_ASSIGN(auto query,
             db_.Prepare("SELECT p.name, l.input, d.text, l.output, s.text, l.seq FROM links l "
                         "JOIN keys p ON p.id = l.parent JOIN texts d ON d.id = l.digest "
                         "JOIN texts s ON s.id = l.selector JOIN keys k ON k.id = l.child "
                         "WHERE k.name = ? ORDER BY l.input, l.seq DESC"));
  query.Bind(id);
  std::vector<solver::ParentLink> parents;
  for (;;) {
    TRY_ASSIGN(bool more, query.Step());
    if (!more) return parents;
    solver::LinkTuple tuple{query.Text(0), static_cast<int>(query.Int(1)), query.Text(2),
                            static_cast<int>(query.Int(3)), query.Text(4)};
    parents.push_back({std::move(tuple), static_cast<uint64_t>(query.Int(5))});
  }
}

Result<std::optional<Tables::StoredRecord>> Tables::Record(const solver::RecordId& id) {
  auto number = ParseInt(id);
  if (!number) return std::optional<StoredRecord>();
  TRY_ASSIGN(auto query, db_.Prepare("SELECT store_id, capture FROM records WHERE id = ?"));
  TRY_ASSIGN(bool found, query.Bind(*number).Step());
  if (!found) return std::optional<StoredRecord>();
  return std::optional(StoredRecord{query.Text(0), query.Text(1)});
}

Result<int64_t> Tables::NextSeq() {
  TRY_ASSIGN(auto update, db_.Prepare("UPDATE counter SET seq = seq + 1 RETURNING seq"));
  TRY(update.Step());
  return update.Int(0);
}

Status Tables::PutLink(const solver::Link& link, int64_t seq) {
  TRY_ASSIGN(int64_t parent, InternKey(link.tuple.parent));
  TRY_ASSIGN(int64_t child, InternKey(link.child));
  TRY_ASSIGN(int64_t digest, InternText(link.tuple.digest));
  TRY_ASSIGN(int64_t selector, InternText(link.tuple.selector));
  TRY_ASSIGN(
      auto insert,
      db_.Prepare("INSERT INTO links(parent, input, digest, output, selector, child, seq) "
                  "VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq"));
  insert.Bind(parent).Bind(link.tuple.input).Bind(digest).Bind(link.tuple.output).Bind(selector);
  return insert.Bind(child).Bind(seq).Run();
}

Result<std::optional<int64_t>> Tables::SeqOf(const solver::Link& link) {
  TRY_ASSIGN(auto query,
             db_.Prepare("SELECT l.seq FROM links l "
                         "JOIN keys p ON p.id = l.parent JOIN texts d ON d.id = l.digest "
                         "JOIN texts s ON s.id = l.selector JOIN keys k ON k.id = l.child "
                         "WHERE p.name = ? AND l.input = ? AND d.text = ? AND l.output = ? "
                         "AND s.text = ? AND k.name = ?"));
  query.Bind(link.tuple.parent).Bind(link.tuple.input).Bind(link.tuple.digest);
  query.Bind(link.tuple.output).Bind(link.tuple.selector).Bind(link.child);
  TRY_ASSIGN(bool found, query.Step());
  return found ? std::optional(query.Int(0)) : std::nullopt;
}

Status Tables::AssertLink(const solver::Link& link, int64_t seq) {
  TRY_ASSIGN(auto child, FindKey(link.child));
  return child ? PutLink(link, seq) : OkStatus();
}

Result<int64_t> Tables::PutRecord(const solver::NewRecord& record, const std::string& store_id) {
  TRY_ASSIGN(int64_t key, InternKey(record.key));
  TRY_ASSIGN(
      auto insert,
      db_.Prepare("INSERT INTO records(key, store_id, created, vertex_name, build_ref, duration, "
                  "imported_from, capture) VALUES(?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"));
  insert.Bind(key).Bind(store_id).Bind(UnixNanos(record.created)).Bind(record.origin.vertex_name);
  insert.Bind(record.origin.build_ref)
      .Bind(record.origin.duration.count())
      .Bind(record.imported_from);
  TRY(insert.BindBlob(record.capture).Step());
  return insert.Int(0);
}

Status Tables::PutMiss(int64_t record, const solver::MissReport& miss) {
  TRY_ASSIGN(int64_t identity, InternText(IdentityText(miss.identity)));
  TRY_ASSIGN(auto nearest, FindNearest(identity, record, miss.parts));
  {
    TRY_ASSIGN(
        auto insert,
        db_.Prepare(
            "INSERT INTO runs(record, build_ref, reason, identity, nearest, label, was, now) "
            "SELECT id, build_ref, ?, ?, ?, ?, ?, ? FROM records WHERE id = ?"));
    insert.Bind(static_cast<int64_t>(miss.reason)).Bind(identity);
    insert.BindOptional(nearest ? std::optional(UnixNanos(nearest->created)) : std::nullopt);
    insert.Bind(nearest ? nearest->label : "")
        .Bind(nearest ? nearest->was : "")
        .Bind(nearest ? nearest->is : "");
    TRY(insert.Bind(record).Run());
  }
  for (size_t i = 0; i < miss.parts.size(); ++i) {
    TRY_ASSIGN(int64_t label, InternText(miss.parts[i].label));
    TRY_ASSIGN(int64_t value, InternText(StoredValue(miss.parts[i].value)));
    TRY_ASSIGN(auto insert, db_.Prepare("INSERT INTO parts VALUES(?, ?, ?, ?)"));
    TRY(insert.Bind(record).Bind(static_cast<int64_t>(i)).Bind(label).Bind(value).Run());
  }
  return OkStatus();
}

// Most equal parts, then newest, among the last runs of the same step.
Result<std::optional<Tables::Nearest>> Tables::FindNearest(
    int64_t identity, int64_t except, const std::vector<solver::KeyPart>& parts) {
  std::vector<std::pair<int64_t, WallTime>> candidates;
  {
    TRY_ASSIGN(auto query,
               db_.Prepare("SELECT r.id, r.created FROM runs u JOIN records r ON r.id = u.record "
                           "WHERE u.identity = ? AND r.id <> ? ORDER BY r.id DESC LIMIT 16"));
    query.Bind(identity).Bind(except);
    for (;;) {
      TRY_ASSIGN(bool more, query.Step());
      if (!more) break;
      candidates.emplace_back(query.Int(0), FromUnixNanos(query.Int(1)));
    }
  }
  std::optional<Nearest> best;
  size_t best_equal = 0;
  for (const auto& [record, created] : candidates) {
    Nearest nearest{record, created, {}, {}, {}};
    size_t equal = 0;
    TRY_ASSIGN(
        auto query,
        db_.Prepare("SELECT l.text, v.text FROM parts p JOIN texts l ON l.id = p.label "
                    "JOIN texts v ON v.id = p.value WHERE p.record = ? ORDER BY p.position"));
    query.Bind(record);
    for (size_t i = 0;; ++i) {
      TRY_ASSIGN(bool more, query.Step());
      bool here = i < parts.size();
      if (!more && !here) break;
      std::string label = more ? query.Text(0) : parts[i].label;
      std::string was = more ? query.Text(1) : "";
      std::string is = here && parts[i].label == label ? StoredValue(parts[i].value) : "";
      if (more && here && was == is) {
        ++equal;
      } else if (nearest.label.empty()) {
        nearest.label = label;
        nearest.was = was;
        nearest.is = is;
      }
      if (!more) break;
    }
    if (!best || equal > best_equal) {
      best = std::move(nearest);
      best_equal = equal;
    }
  }
  return best;
}

Result<std::vector<Miss>> Tables::MissesOf(const std::string& build_ref) {
  TRY_ASSIGN(
      auto query,
      db_.Prepare(
          "SELECT r.vertex_name, t.text, u.reason, u.nearest, u.label, u.was, u.now FROM runs u "
          "JOIN records r ON r.id = u.record JOIN texts t ON t.id = u.identity "
          "WHERE u.build_ref = ? ORDER BY u.record"));
  query.Bind(build_ref);
  std::vector<Miss> misses;
  for (;;) {
    TRY_ASSIGN(bool more, query.Step());
    if (!more) return misses;
    Miss miss;
    miss.vertex_name = query.Text(0);
    miss.identity = IdentityFromText(query.Text(1));
    miss.reason = static_cast<solver::MissReason>(query.Int(2));
    if (!query.IsNull(3)) miss.nearest = FromUnixNanos(query.Int(3));
    miss.label = query.Text(4);
    miss.was = query.Text(5);
    miss.is = query.Text(6);
    misses.push_back(std::move(miss));
  }
}

Result<CacheDb::Counts> Tables::Count() {
  TRY_ASSIGN(auto query,
             db_.Prepare("SELECT (SELECT count(*) FROM keys), (SELECT count(*) FROM links), "
                         "(SELECT count(*) FROM records), (SELECT count(*) FROM texts)"));
  TRY(query.Step());
  return CacheDb::Counts{query.Int(0), query.Int(1), query.Int(2), query.Int(3)};
}

Result<std::vector<int64_t>> Tables::RecordsOf(const std::string& store_id) {
  TRY_ASSIGN(auto query, db_.Prepare("SELECT id FROM records WHERE store_id = ?"));
  query.Bind(store_id);
  std::vector<int64_t> ids;
  for (;;) {
    TRY_ASSIGN(bool more, query.Step());
    if (!more) return ids;
    ids.push_back(query.Int(0));
  }
}

Result<std::vector<int64_t>> Tables::Nums(std::string_view sql, std::string_view json) {
  TRY_ASSIGN(auto statement, db_.Prepare(sql));
  statement.Bind(json);
  std::vector<int64_t> nums;
  for (;;) {
    TRY_ASSIGN(bool more, statement.Step());
    if (!more) return nums;
    nums.push_back(statement.Int(0));
  }
}

Result<bool> Tables::HasNoRecords() {
  TRY_ASSIGN(auto query, db_.Prepare("SELECT 1 FROM records LIMIT 1"));
  TRY_ASSIGN(bool found, query.Step());
  return !found;
}

Status Tables::DropRecords(const std::vector<int64_t>& ids) {
  const std::string json = JsonOf(ids);
  TRY_ASSIGN(
      const auto keys,
      Nums("DELETE FROM records WHERE id IN (SELECT value FROM json_each(?)) RETURNING key", json));
  if (keys.empty()) return OkStatus();
  TRY_ASSIGN(const bool empty, HasNoRecords());
  if (empty) {  // nothing leads anywhere: emptied at once, not row by row
    return db_.Exec(
        "DELETE FROM runs; DELETE FROM parts; DELETE FROM links; DELETE FROM keys; "
        "DELETE FROM texts; UPDATE counter SET dropped = 0");
  }
  for (std::string_view sql :
       {"DELETE FROM runs WHERE record IN (SELECT value FROM json_each(?))",
        "DELETE FROM parts WHERE record IN (SELECT value FROM json_each(?))"}) {
    TRY_ASSIGN(auto remove, db_.Prepare(sql));
    TRY(remove.Bind(json).Run());
  }
  TRY_ASSIGN(auto count, db_.Prepare("UPDATE counter SET dropped = dropped + ?"));
  TRY(count.Bind(static_cast<int64_t>(keys.size())).Run());
  return SweepKeys(keys);
}

// "An id goes with its last record and useful link": it has a record, or leads to something.
Status Tables::SweepKeys(std::vector<int64_t> keys) {
  for (;;) {
    TRY_ASSIGN(const auto useless, Nums("SELECT j.value FROM json_each(?) j WHERE "
                                        "NOT EXISTS(SELECT 1 FROM records WHERE key = j.value) AND "
                                        "NOT EXISTS(SELECT 1 FROM links WHERE parent = j.value)",
                                        JsonOf(std::move(keys))));
    if (useless.empty()) return OkStatus();
    const std::string json = JsonOf(useless);
    TRY_ASSIGN(keys, Nums("DELETE FROM links WHERE child IN (SELECT value FROM json_each(?)) "
                          "RETURNING parent",
                          json));
    TRY_ASSIGN(auto remove,
               db_.Prepare("DELETE FROM keys WHERE id IN (SELECT value FROM json_each(?))"));
    TRY(remove.Bind(json).Run());
  }
}

Result<bool> Tables::TextsAreStale() {
  TRY_ASSIGN(auto query,
             db_.Prepare("SELECT dropped, (SELECT count(*) FROM records) FROM counter"));
  TRY(query.Step());
  const int64_t dropped = query.Int(0);
  const int64_t left = query.Int(1);
  return dropped > 0 && (left == 0 || (dropped >= kSweepTextsAfter && dropped >= left / 4));
}

Status Tables::SweepTexts() {
  for (std::string_view sql :
       {"DELETE FROM texts WHERE id NOT IN (SELECT digest FROM links UNION ALL "
        "SELECT selector FROM links UNION ALL SELECT identity FROM runs UNION ALL "
        "SELECT label FROM parts UNION ALL SELECT value FROM parts)",
        "UPDATE counter SET dropped = 0"}) {
    TRY_ASSIGN(auto statement, db_.Prepare(sql));
    TRY(statement.Run());
  }
  return OkStatus();
}

}  // namespace kiln::cachedb
