#pragma once

#include <optional>
#include <string>
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
// With all that belongs to it; notes its number as given.
Status DeleteRecord(SqliteConnection& db, int64_t num);
Result<bool> IsStoodOn(SqliteConnection& db, int64_t num);
// The first column of all rows.
Result<std::vector<int64_t>> NumsOf(SqliteStatement query);

}  // namespace kiln::store
