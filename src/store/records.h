#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "store/index_cache.h"
#include "store/lock_order.h"
#include "store/record.h"
#include "store/root.h"

namespace kiln::store {

// The room of the records: their rows, and who holds which of them. What is held is not collected,
// nor what it stands on; both are decided under one lock. Safe from any thread.
class Records {
 public:
  Records(Root* root, IndexCache* indexes) : root_(root), indexes_(indexes) {}

  // A hold on the record, or null if there is none (any more).
  Result<RecordPtr> Acquire(int64_t num) EXCLUDES(mutex_);
  // The same by id, for itself: counts as a use. NotFound if there is none.
  Result<RecordPtr> Claim(const std::string& id);
  // Those that claim that chain id, unpacked ones first.
  Result<std::vector<RecordPtr>> AllOfChain(const Digest& chain_id);
  // Newest first.
  Result<std::vector<RecordPtr>> FindByLabel(std::string_view name, std::string_view value);
  Result<std::set<std::string>> Ids();

  // A row to be filled in and inserted.
  RecordRow NewRow(RecordKind kind, const CommitOptions& commit) const;
  // Gives it a number if it has none.
  Result<RecordPtr> Insert(RecordRow row, RecordPtr parent, std::vector<RecordPtr> inputs,
                           const CommitOptions& commit, std::optional<uint64_t> size)
      EXCLUDES(mutex_);
  Status InsertNamed(const RecordRow& row, const std::string& key);
  // With its directory. False: held, or something stands on it.
  Result<bool> Remove(int64_t num) EXCLUDES(mutex_);
  // Several in one transaction, each only if those of them that stand on it come before it.
  Result<std::vector<bool>> RemoveAll(std::span<const int64_t> nums) EXCLUDES(mutex_);
  // Counts a use, now.
  void Used(int64_t num);
  // Nobody holds some record any more.
  void Released() EXCLUDES(mutex_);

  Status SetLabel(int64_t num, std::string_view name, std::string_view value);
  Result<std::string> Label(int64_t num, std::string_view name);

  // Sets what is learnt about a layer, and the chain id if the parent's is known.
  Status LearnDiffId(const RecordPtr& record, const Digest& diff_id);
  // Of the whole chain, if all diff ids are known.
  std::optional<Digest> ChainIdOf(const RecordPtr& record);

  // A named directory has a number like a record: as long as `holder` lives it is not collected.
  // False: it is being collected.
  bool HoldNamed(int64_t num, const std::shared_ptr<const void>& holder) EXCLUDES(mutex_);
  // Once the holder is gone.
  void ReleaseNamed(int64_t num) EXCLUDES(mutex_);
  // Those of `nums` that somebody holds.
  std::unordered_set<int64_t> HeldOf(std::span<const int64_t> nums) const EXCLUDES(mutex_);

 private:
  // Those that are still there.
  Result<std::vector<RecordPtr>> AcquireAll(std::span<const int64_t> nums);
  Result<std::optional<int64_t>> FindId(const std::string& id);
  bool IsHeldLocked(int64_t num) const REQUIRES(mutex_);
  std::vector<bool> Doom(std::span<const int64_t> nums) EXCLUDES(mutex_);

  Root* const root_;
  IndexCache* const indexes_;
  mutable Mutex mutex_ ACQUIRED_AFTER(lock_order::kRooms) ACQUIRED_BEFORE(lock_order::kRecords);
  std::unordered_map<int64_t, std::weak_ptr<RecordState>> live_ GUARDED_BY(mutex_);
  size_t released_ GUARDED_BY(mutex_) = 0;  // since `live_` was swept
  std::unordered_map<int64_t, std::weak_ptr<const void>> named_ GUARDED_BY(mutex_);
  std::unordered_set<int64_t> doomed_ GUARDED_BY(mutex_);  // being collected
  uint64_t epoch_ GUARDED_BY(mutex_) = 0;                  // counts dooms
};

}  // namespace kiln::store
