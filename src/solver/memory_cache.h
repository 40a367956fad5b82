#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "solver/cache_source.h"

namespace kiln::solver {

// A LocalCacheSource in memory: the reference implementation of its contract, for tests and for
// engines without a disk. Answers inside the call. One thread.
class MemoryCache : public LocalCacheSource {
 public:
  explicit MemoryCache(std::string name = "memory") : name_(std::move(name)) {}

  const std::string& name() const override { return name_; }
  void Lookup(std::vector<LinkTuple> tuples, progress::Activity activity,
              Callback<std::vector<std::vector<LinkChild>>> done) override;
  void Records(std::vector<KeyId> ids, progress::Activity activity,
               Callback<std::vector<KeyInfo>> done) override;
  void Claim(RecordInfo record, progress::Activity activity, Callback<Claimed> done) override;
  void Save(SaveBatch batch, Callback<std::vector<RecordId>> done) override;
  void Assert(std::vector<Link> links, StatusCallback done) override;
  void Drop(RecordId record, StatusCallback done) override;
  void Parents(std::vector<KeyId> ids,
               Callback<std::vector<std::vector<ParentLink>>> done) override;

  // The same, without the wrapping.
  std::vector<LinkChild> Children(const LinkTuple& tuple) const;
  KeyInfo Info(const KeyId& id) const;
  std::vector<RecordId> SaveNow(const SaveBatch& batch);
  void AssertNow(const std::vector<Link>& links);
  void DropNow(const RecordId& record);

  struct Record {
    RecordInfo info;
    StoredResultPtr result;
    std::string capture;
    std::string imported_from;
  };
  const std::map<RecordId, Record>& records() const { return records_; }
  const std::map<LinkTuple, std::map<KeyId, uint64_t>>& links() const { return links_; }
  const std::vector<MissReport>& misses() const { return misses_; }

 private:
  // Forgets the id if it has neither record nor useful link; goes on with what led to it.
  void Sweep(const KeyId& id);

  const std::string name_;
  std::map<LinkTuple, std::map<KeyId, uint64_t>> links_;
  std::map<KeyId, std::set<LinkTuple>> parents_;     // child → tuples
  std::map<KeyId, std::map<LinkTuple, int>> leads_;  // parent → its tuples
  std::map<KeyId, std::set<RecordId>> by_key_;
  std::map<RecordId, Record> records_;
  std::vector<MissReport> misses_;
  uint64_t seq_ = 0;
  uint64_t next_record_ = 1;
};

}  // namespace kiln::solver
