#include "store/records.h"

#include <algorithm>

#include "base/ids.h"
#include "base/log.h"
#include "oci/image_config.h"
#include "store/large_cache.h"
#include "store/record_rows.h"

namespace kiln::store {

RecordRow Records::NewRow(RecordKind kind, const CommitOptions& commit) const {
  RecordRow row;
  row.id = NewId();
  row.kind = kind;
  row.type = commit.type.empty() ? std::string(kTypeRegular) : commit.type;
  row.description = commit.description;
  row.created = commit.created.value_or(root_->clock().Now());
  return row;
}

Result<std::optional<int64_t>> Records::FindId(const std::string& id) {
  std::optional<int64_t> num;
  TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query, db.Prepare("SELECT num FROM records WHERE id=?"));
    TRY_ASSIGN(const bool row, query.Bind(id).Step());
    if (row) num = query.Int(0);
    return OkStatus();
  }));
  return num;
}

// What a record stands on is acquired first, so that it cannot go in between. Chains are as long as
// the user makes them: an explicit stack, no recursion along parents.
Result<RecordPtr> Records::Acquire(int64_t num) {
  std::vector<int64_t> pending{num};
  std::unordered_map<int64_t, RecordPtr> held;
  uint64_t epoch = 0;
  {
    MutexLock guard(mutex_);
    epoch = epoch_;
  }
  while (!pending.empty()) {
    const int64_t at = pending.back();
    {
      MutexLock guard(mutex_);
      if (doomed_.contains(at)) return RecordPtr();
      const auto found = live_.find(at);
      if (found != live_.end()) {
        if (RecordPtr state = found->second.lock()) {
          held[at] = std::move(state);
          pending.pop_back();
          continue;
        }
      }
    }
    std::optional<RecordRow> row;
    std::vector<int64_t> inputs;
    TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
      TRY_ASSIGN(row, ReadRecord(db, at));
      if (row && row->kind != RecordKind::kLayer) {
        TRY_ASSIGN(inputs, ReadInputs(db, at));
      }
      return OkStatus();
    }));
    if (!row) return RecordPtr();
    bool complete = true;
    std::vector<int64_t> needs = inputs;
    if (row->parent != 0) needs.push_back(row->parent);
    TRY(CheckRow(*row, inputs));
    for (const int64_t need : needs) {
      if (held.contains(need)) continue;
      pending.push_back(need);
      complete = false;
    }
    if (!complete) continue;
    // Here and below not make_shared: weak pointers in `live_` must not keep the memory.
    RecordPtr state(new RecordState(*row));
    state->records = this;
    if (row->parent != 0) state->parent = held[row->parent];
    for (const int64_t input : inputs) state->inputs.push_back(held[input]);
    TRY(CountLayers(*state));
    MutexLock guard(mutex_);
    if (epoch != epoch_) {  // something was collected meanwhile, perhaps this: look again
      epoch = epoch_;
      continue;
    }
    auto& slot = live_[at];
    RecordPtr other = slot.lock();
    if (other == nullptr) slot = state;
    held[at] = other != nullptr ? other : state;
    pending.pop_back();
  }
  return held[num];
}

// What has expired goes from `live_` once it may be half of it: left there until the next holds
// come, it would keep pages all over the heap after a large build.
void Records::Released() {
  const MutexLock guard(mutex_);
  if (++released_ < std::max<size_t>(32, live_.size() / 2)) return;
  std::erase_if(live_, [](const auto& item) { return item.second.expired(); });
  released_ = 0;
}

Result<RecordPtr> Records::Insert(RecordRow row, RecordPtr parent, std::vector<RecordPtr> inputs,
                                  const CommitOptions& commit, std::optional<uint64_t> size) {
  if (row.num == 0) row.num = root_->NextNum();
  row.parent = parent == nullptr ? 0 : parent->row.num;
  RecordPtr state(new RecordState(row));
  state->records = this;
  state->used = true;
  state->parent = std::move(parent);
  state->inputs = std::move(inputs);
  TRY(CountLayers(*state));
  {
    // Before the row: collection must never see the one without the other.
    MutexLock guard(mutex_);
    live_[row.num] = state;
  }
  const int64_t seq = root_->NextSeq();
  TRY(root_->database().Write([&](SqliteConnection& db) -> Status {
    TRY(InsertRecord(db, row, size, "", seq));
    for (size_t i = 0; i < state->inputs.size(); ++i) {
      TRY_ASSIGN(SqliteStatement input,
                 db.Prepare("INSERT INTO record_inputs(record,position,input) VALUES(?,?,?)"));
      TRY(input.Bind(row.num).Bind(static_cast<int64_t>(i)).Bind(state->inputs[i]->row.num).Run());
    }
    for (const auto& [name, value] : commit.labels) {
      TRY_ASSIGN(SqliteStatement label,
                 db.Prepare("INSERT INTO labels(record,name,value) VALUES(?,?,?)"));
      TRY(label.Bind(row.num).Bind(name).Bind(value).Run());
    }
    return OkStatus();
  }));
  root_->janitor().WantSync();
  return state;
}

void Records::Used(int64_t num) {
  const int64_t now = UnixNanos(root_->clock().Now());
  root_->database().WriteLater([num, now](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update,
               db.Prepare("UPDATE records SET last_used=?, usage_count=usage_count+1 WHERE num=?"));
    return update.Bind(now).Bind(num).Run();
  });
}

Result<bool> Records::Remove(int64_t num) {
  TRY_ASSIGN(const std::vector<bool> removed, RemoveAll({&num, 1}));
  return removed[0];
}

// Which of them nobody holds, and nobody can begin to hold from now on.
std::vector<bool> Records::Doom(std::span<const int64_t> nums) {
  std::vector<bool> mine;
  const MutexLock guard(mutex_);
  for (const int64_t num : nums) {
    mine.push_back(!IsHeldLocked(num) && doomed_.insert(num).second);
    if (!mine.back()) continue;
    live_.erase(num);
    named_.erase(num);
  }
  ++epoch_;
  return mine;
}

Result<std::vector<bool>> Records::RemoveAll(std::span<const int64_t> nums) {
  const std::vector<bool> doomed = Doom(nums);
  std::vector<bool> removed(nums.size(), false);
  // Nobody can begin to stand on them now, and whoever did has committed that.
  const Status status = root_->database().Write([&](SqliteConnection& db) -> Status {
    const LargeCache cache(db, nums.size());
    TRY_ASSIGN(const NumsByNum above, ReadStandingOn(db, nums));
    std::unordered_set<int64_t> going;
    const auto goes = [&](int64_t num) { return going.contains(num); };
    for (size_t i = 0; i < nums.size(); ++i) {
      const auto found = above.find(nums[i]);
      removed[i] = doomed[i] && (found == above.end() ||
                                 std::all_of(found->second.begin(), found->second.end(), goes));
      if (removed[i]) going.insert(nums[i]);
    }
    return DeleteRecords(db, {going.begin(), going.end()});
  });
  for (size_t i = 0; status.ok() && i < nums.size(); ++i) {
    if (!removed[i]) continue;
    indexes_->Forget(nums[i]);
    root_->Trash(root_->DirsOf(nums[i]).top);
  }
  const MutexLock guard(mutex_);
  for (size_t i = 0; i < nums.size(); ++i) {
    if (doomed[i]) doomed_.erase(nums[i]);
  }
  TRY(status);
  return removed;
}

std::optional<Digest> Records::ChainIdOf(const RecordPtr& record) {
  if (record == nullptr) return std::nullopt;
  {
    MutexLock guard(record->mutex);
    if (record->chain_id) return record->chain_id;
  }
  std::optional<Digest> chain;
  for (const RecordPtr& layer : ChainOf(record)) {
    MutexLock guard(layer->mutex);
    if (!layer->diff_id) return std::nullopt;
    chain = oci::ChainIdOn(chain, *layer->diff_id);
  }
  return chain;
}

Status Records::LearnDiffId(const RecordPtr& record, const Digest& diff_id) {
  {
    MutexLock guard(record->mutex);
    if (record->diff_id == diff_id && record->chain_id) return OkStatus();
    record->diff_id = diff_id;
  }
  const std::optional<Digest> chain = ChainIdOf(record);
  {
    MutexLock guard(record->mutex);
    record->chain_id = chain;
  }
  return root_->database().Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update,
               db.Prepare("UPDATE records SET diff_id=?, chain_id=? WHERE num=?"));
    return update.Bind(diff_id).BindOptional(chain).Bind(record->row.num).Run();
  });
}

Status Records::InsertNamed(const RecordRow& row, const std::string& key) {
  const int64_t seq = root_->NextSeq();
  return root_->database().Write(
      [&](SqliteConnection& db) { return InsertRecord(db, row, std::nullopt, key, seq); });
}

Result<RecordPtr> Records::Claim(const std::string& id) {
  TRY_ASSIGN(const std::optional<int64_t> num, FindId(id));
  if (!num) return NotFound("record {}: not found", id);
  TRY_ASSIGN(RecordPtr record, Acquire(*num));
  if (record == nullptr || record->row.kind == RecordKind::kNamed)
    return NotFound("record {}: not found", id);
  record->used = true;
  return record;
}

Result<std::vector<RecordPtr>> Records::AllOfChain(const Digest& chain_id) {
  std::vector<int64_t> nums;
  TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query,
               db.Prepare("SELECT num FROM records WHERE chain_id=? ORDER BY local DESC, num"));
    query.Bind(chain_id);
    TRY_ASSIGN(nums, NumsOf(std::move(query)));
    return OkStatus();
  }));
  return AcquireAll(nums);
}

Result<std::vector<RecordPtr>> Records::FindByLabel(std::string_view name, std::string_view value) {
  std::vector<int64_t> nums;
  TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(
        SqliteStatement query,
        db.Prepare(
            "SELECT l.record FROM labels l JOIN records r ON r.num=l.record "
            "WHERE l.name=? AND l.value=? AND r.kind<>3 ORDER BY r.created DESC, r.num DESC"));
    query.Bind(name).Bind(value);
    TRY_ASSIGN(nums, NumsOf(std::move(query)));
    return OkStatus();
  }));
  return AcquireAll(nums);
}

Result<std::vector<RecordPtr>> Records::AcquireAll(std::span<const int64_t> nums) {
  std::vector<RecordPtr> records;
  for (const int64_t num : nums) {
    TRY_ASSIGN(RecordPtr record, Acquire(num));
    if (record != nullptr) records.push_back(std::move(record));
  }
  return records;
}

Result<std::set<std::string>> Records::Ids() {
  std::set<std::string> ids;
  TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query, db.Prepare("SELECT id FROM records"));
    while (true) {
      TRY_ASSIGN(const bool row, query.Step());
      if (!row) return OkStatus();
      ids.insert(query.Text(0));
    }
  }));
  return ids;
}

bool Records::HoldNamed(int64_t num, const std::shared_ptr<const void>& holder) {
  const MutexLock guard(mutex_);
  if (doomed_.contains(num)) return false;
  named_[num] = holder;
  return true;
}

void Records::ReleaseNamed(int64_t num) {
  const MutexLock guard(mutex_);
  const auto found = named_.find(num);
  if (found != named_.end() && found->second.expired()) named_.erase(found);
}

bool Records::IsHeldLocked(int64_t num) const {
  const auto record = live_.find(num);
  if (record != live_.end() && !record->second.expired()) return true;
  const auto named = named_.find(num);
  return named != named_.end() && !named->second.expired();
}

std::unordered_set<int64_t> Records::HeldOf(std::span<const int64_t> nums) const {
  std::unordered_set<int64_t> held;
  const MutexLock guard(mutex_);
  for (const int64_t num : nums) {
    if (IsHeldLocked(num)) held.insert(num);
  }
  return held;
}

Status Records::SetLabel(int64_t num, std::string_view name, std::string_view value) {
  return root_->database().Write([&](SqliteConnection& db) -> Status {
    if (value.empty()) {
      TRY_ASSIGN(SqliteStatement erase, db.Prepare("DELETE FROM labels WHERE record=? AND name=?"));
      return erase.Bind(num).Bind(name).Run();
    }
    TRY_ASSIGN(SqliteStatement set,
               db.Prepare("INSERT OR REPLACE INTO labels(record,name,value) VALUES(?,?,?)"));
    return set.Bind(num).Bind(name).Bind(value).Run();
  });
}

Result<std::string> Records::Label(int64_t num, std::string_view name) {
  std::string value;
  TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query,
               db.Prepare("SELECT value FROM labels WHERE record=? AND name=?"));
    TRY_ASSIGN(const bool row, query.Bind(num).Bind(name).Step());
    if (row) value = query.Text(0);
    return OkStatus();
  }));
  return value;
}

}  // namespace kiln::store
