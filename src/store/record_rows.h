#pragma once

#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/record.h"
#include "store/sqlite.h"

namespace kiln::store {

// The tables `records` and `record_inputs`, within a transaction of the caller's.
Result<std::optional<RecordRow>> ReadRecord(SqliteConnection& db, int64_t num);
Result<std::vector<int64_t>> ReadInputs(SqliteConnection& db, int64_t num);
// What fsck would find, as far as it could lead in circles or nowhere.
Status CheckRow(const RecordRow& row, const std::vector<int64_t>& inputs);
Status InsertRecord(SqliteConnection& db, const RecordRow& row, std::optional<uint64_t> size,
                    const std::string& named_key, int64_t seq);
// With all that belongs to them; notes their numbers as given.
Status DeleteRecords(SqliteConnection& db, const std::vector<int64_t>& nums);
using NumsByNum = std::unordered_map<int64_t, std::vector<int64_t>>;
// What stands on each of them, if anything does.
Result<NumsByNum> ReadStandingOn(SqliteConnection& db, std::span<const int64_t> nums);
// The first column of all rows.
Result<std::vector<int64_t>> NumsOf(SqliteStatement query);

}  // namespace kiln::store
