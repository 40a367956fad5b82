#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cachedb/cachedb.h"
#include "store/sqlite.h"

namespace kiln::cachedb {

// The statements on cache.db. One thread; transactions are the caller's.
class Tables {
 public:
  explicit Tables(store::SqliteConnection& db) : db_(db) {}
  static std::vector<std::string_view> Migrations();

  // What is read.
  Result<std::vector<solver::LinkChild>> Children(const solver::LinkTuple& tuple);
  Result<solver::KeyInfo> Key(const solver::KeyId& id);
  Result<std::vector<solver::ParentLink>> ParentsOf(const solver::KeyId& id);
  struct StoredRecord {
    std::string store_id;  // "" for scratch
    std::string capture;
  };
  Result<std::optional<StoredRecord>> Record(const solver::RecordId& id);
  Result<std::vector<Miss>> MissesOf(const std::string& build_ref);
  Result<CacheDb::Counts> Count();
  // When the link was asserted last; nothing if there is none.
  Result<std::optional<int64_t>> SeqOf(const solver::Link& link);

  // What is written.
  Result<int64_t> NextSeq();
  Status PutLink(const solver::Link& link, int64_t seq);
  // Only if the child is known.
  Status AssertLink(const solver::Link& link, int64_t seq);
  Result<int64_t> PutRecord(const solver::NewRecord& record, const std::string& store_id);
  Status PutMiss(int64_t record, const solver::MissReport& miss);
  // With the keys that nothing needs then. Those that are not there any more are passed over.
  Status DropRecords(const std::vector<int64_t>& ids);
  // Texts go when nothing names them any more. Looking for those costs a pass over all tables, so
  // it is worth while only after many records were dropped.
  Result<bool> TextsAreStale();
  Status SweepTexts();
  Result<std::vector<int64_t>> RecordsOf(const std::string& store_id);

 private:
  Result<std::optional<int64_t>> FindKey(std::string_view name);
  Result<int64_t> InternKey(std::string_view name);
  Result<std::optional<int64_t>> FindText(std::string_view text);
  Result<int64_t> InternText(std::string_view text);
  Result<bool> HasNoRecords();
  // Rows of one number, of a statement on a list of numbers.
  Result<std::vector<int64_t>> Nums(std::string_view sql, std::string_view json);
  // Removes those keys that have no records and no links out, then what only led to them.
  Status SweepKeys(std::vector<int64_t> keys);

  struct Nearest {
    int64_t record = 0;
    WallTime created;
    std::string label;
    std::string was;
    std::string is;
  };
  Result<std::optional<Nearest>> FindNearest(int64_t identity, int64_t except,
                                             const std::vector<solver::KeyPart>& parts);

  store::SqliteConnection& db_;
};

}  // namespace kiln::cachedb
