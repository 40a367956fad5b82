#include "store/record_rows.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace kiln::store {

namespace {

constexpr std::string_view kColumns =
    "SELECT num,id,kind,parent,local,standalone,diff_id,chain_id,type,description,created FROM "
    "records WHERE num=?";

}  // namespace

Result<std::optional<RecordRow>> ReadRecord(SqliteConnection& db, int64_t num) {
  TRY_ASSIGN(SqliteStatement query, db.Prepare(kColumns));
  TRY_ASSIGN(const bool found, query.Bind(num).Step());
  if (!found) return std::optional<RecordRow>();
  RecordRow row;
  row.num = query.Int(0);
  row.id = query.Text(1);
  row.kind = static_cast<RecordKind>(query.Int(2));
  row.parent = query.Int(3);
  row.local = query.Int(4) != 0;
  row.standalone = query.Int(5) != 0;
  if (!query.IsNull(6)) row.diff_id = query.DigestAt(6);
  if (!query.IsNull(7)) row.chain_id = query.DigestAt(7);
  row.type = query.Text(8);
  row.description = query.Text(9);
  row.created = FromUnixNanos(query.Int(10));
  return std::optional<RecordRow>(std::move(row));
}

Result<std::vector<int64_t>> ReadInputs(SqliteConnection& db, int64_t num) {
  TRY_ASSIGN(SqliteStatement query,
             db.Prepare("SELECT input FROM record_inputs WHERE record=? ORDER BY position"));
  query.Bind(num);
  return NumsOf(std::move(query));
}

// What fsck would find, as far as it could lead in circles or nowhere.
Status CheckRow(const RecordRow& row, const std::vector<int64_t>& inputs) {
  if (row.kind < RecordKind::kLayer || row.kind > RecordKind::kNamed)
    return DataLoss("record {} is of an unknown kind", row.id);
  if (inputs.empty() && (row.kind == RecordKind::kMerge || row.kind == RecordKind::kReused))
    return DataLoss("record {} has no inputs", row.id);
  const auto is_older = [&](int64_t below) { return below < row.num; };
  if ((row.parent == 0 || is_older(row.parent)) &&
      std::all_of(inputs.begin(), inputs.end(), is_older))
    return OkStatus();
  return DataLoss("record {} stands on one that is not older", row.id);
}

Status InsertRecord(SqliteConnection& db, const RecordRow& row, std::optional<uint64_t> size,
                    const std::string& named_key, int64_t seq) {
  TRY_ASSIGN(
      SqliteStatement insert,
      db.Prepare(
          "INSERT INTO "
          "records(num,id,kind,parent,local,standalone,diff_id,chain_id,type,description,created,"
          "size,named_key,seq) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
  insert.Bind(row.num).Bind(row.id).Bind(static_cast<int64_t>(row.kind));
  (row.parent == 0 ? insert.BindNull() : insert.Bind(row.parent))
      .Bind(int64_t{row.local})
      .Bind(int64_t{row.standalone});
  insert.BindOptional(row.diff_id).BindOptional(row.chain_id);
  insert.Bind(row.type).Bind(row.description).Bind(UnixNanos(row.created));
  if (size) {
    insert.Bind(static_cast<int64_t>(*size));
  } else {
    insert.BindNull();
  }
  if (named_key.empty()) {
    insert.BindNull();
  } else {
    insert.Bind(named_key);
  }
  return insert.Bind(seq).Run();
}

namespace {

// In ascending order: rows beside each other lie in the same pages.
std::string JsonOf(std::vector<int64_t> nums) {
  std::sort(nums.begin(), nums.end());
  return fmt::format("[{}]", fmt::join(nums, ","));
}

// What is known about blobs goes with the last that needs it: this, or the blob itself.
Status DeleteLayerBlobs(SqliteConnection& db, int64_t num) {
  for (std::string_view table : {"locators", "blob_labels"}) {
    TRY_ASSIGN(SqliteStatement erase,
               db.Prepare(fmt::format(
                   "DELETE FROM {0} WHERE digest IN (SELECT digest FROM layer_blobs WHERE "
                   "record=?1) AND NOT EXISTS(SELECT 1 FROM layer_blobs l WHERE "
                   "l.digest={0}.digest AND l.record<>?1) AND NOT EXISTS(SELECT 1 FROM blobs b "
                   "WHERE b.digest={0}.digest)",
                   table)));
    TRY(erase.Bind(num).Run());
  }
  TRY_ASSIGN(SqliteStatement erase, db.Prepare("DELETE FROM layer_blobs WHERE record=?"));
  return erase.Bind(num).Run();
}

}  // namespace

Status DeleteRecords(SqliteConnection& db, const std::vector<int64_t>& nums) {
  if (nums.empty()) return OkStatus();
  const std::string json = JsonOf(nums);
  std::vector<int64_t> with_blobs;
  {
    TRY_ASSIGN(SqliteStatement query,
               db.Prepare("SELECT DISTINCT record FROM layer_blobs WHERE record IN "
                          "(SELECT value FROM json_each(?))"));
    query.Bind(json);
    TRY_ASSIGN(with_blobs, NumsOf(std::move(query)));
  }
  for (const int64_t num : with_blobs) TRY(DeleteLayerBlobs(db, num));
  for (std::string_view sql :
       {"DELETE FROM record_inputs WHERE record IN (SELECT value FROM json_each(?))",
        "DELETE FROM labels WHERE record IN (SELECT value FROM json_each(?))",
        "DELETE FROM records WHERE num IN (SELECT value FROM json_each(?))"}) {
    TRY_ASSIGN(SqliteStatement erase, db.Prepare(sql));
    TRY(erase.Bind(json).Run());
  }
  TRY_ASSIGN(SqliteStatement last,
             db.Prepare("INSERT OR REPLACE INTO meta(key,value) SELECT 'num',CAST(?1 AS TEXT) "
                        "WHERE ?1>coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE "
                        "key='num'),0)"));
  return last.Bind(*std::max_element(nums.begin(), nums.end())).Run();
}

Result<NumsByNum> ReadStandingOn(SqliteConnection& db, std::span<const int64_t> nums) {
  TRY_ASSIGN(SqliteStatement query,
             db.Prepare("SELECT r.parent,r.num FROM json_each(?1) j CROSS JOIN records r ON "
                        "r.parent=j.value UNION ALL SELECT i.input,i.record FROM json_each(?1) j "
                        "CROSS JOIN record_inputs i ON i.input=j.value"));
  query.Bind(JsonOf({nums.begin(), nums.end()}));
  NumsByNum above;
  while (true) {
    TRY_ASSIGN(const bool row, query.Step());
    if (!row) return above;
    above[query.Int(0)].push_back(query.Int(1));
  }
}

Result<std::vector<int64_t>> NumsOf(SqliteStatement query) {
  std::vector<int64_t> nums;
  while (true) {
    TRY_ASSIGN(const bool row, query.Step());
    if (!row) return nums;
    nums.push_back(query.Int(0));
  }
}

}  // namespace kiln::store
