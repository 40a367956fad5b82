// Which records go.
#include "store/collection.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <unordered_map>

#include "base/filter.h"
#include "base/strings.h"

namespace kiln::store {

namespace {

std::optional<std::string> FieldOf(const UsageRecord& record,
                                   const std::vector<std::string>& path) {
  if (path.size() != 1) return std::nullopt;
  const std::string& field = path[0];
  const auto flag = [](bool set) { return set ? std::optional<std::string>("") : std::nullopt; };
  if (field == "id") return record.id;
  if (field == "parents") return Join(record.parents, ";");
  if (field == "description") return record.description;
  if (field == "type") return record.type;
  if (field == "inuse") return flag(record.in_use);
  if (field == "mutable") return flag(record.is_mutable);
  if (field == "immutable") return flag(!record.is_mutable);
  if (field == "shared") return flag(record.shared);
  if (field == "private") return flag(!record.shared);
  return std::nullopt;
}

bool Matches(const Filter& filter, const UsageRecord& record) {
  return filter.Matches(
      [&](const std::vector<std::string>& path) { return FieldOf(record, path); });
}

bool IsOlder(const UsageRecord& record, WallTime now, std::chrono::nanoseconds age) {
  return age.count() <= 0 || !record.last_used || *record.last_used < now - age;
}

// How many bytes the rule leaves; nullopt: no cap.
std::optional<uint64_t> KeepBytes(const PruneRule& rule, uint64_t total, uint64_t free_bytes) {
  if (rule.max_used_bytes == 0 && rule.reserved_bytes == 0 && rule.min_free_bytes == 0)
    return std::nullopt;
  uint64_t keep = rule.max_used_bytes;
  if (rule.min_free_bytes > free_bytes) {
    const uint64_t excess = rule.min_free_bytes - free_bytes;
    const uint64_t left = total > excess ? total - excess : 0;
    keep = keep == 0 ? left : std::min(keep, left);
  } else if (keep == 0 && rule.min_free_bytes > 0) {
    keep = total;
  }
  return std::max(keep, rule.reserved_bytes);
}

}  // namespace

Result<std::vector<UsageRecord>> Collection::DiskUsage(const std::vector<std::string>& filters,
                                                       std::chrono::nanoseconds age_limit) {
  TRY_ASSIGN(const Filter filter, Filter::Parse(filters));
  TRY_ASSIGN(std::vector<UsageRow> rows, ReadUsage());
  Measure(&rows);
  TRY(NoteSizes(rows));
  const WallTime now = root_->clock().Now();
  std::vector<UsageRecord> records;
  for (UsageRow& row : rows) {
    if (Matches(filter, row.record) && IsOlder(row.record, now, age_limit))
      records.push_back(std::move(row.record));
  }
  return records;
}

namespace {

// Whether the rule may take it at all.
bool MayGo(const UsageRecord& record, const PruneRule& rule, const Filter& filter, WallTime now) {
  if (record.in_use) return false;
  if (!rule.all && (record.type == kTypeInternal || record.type == kTypeFrontend || record.shared))
    return false;
  return IsOlder(record, now, rule.keep_duration) && Matches(filter, record);
}

// Which go first: what was used least recently and least often, by the sum of both ranks.
std::vector<size_t> RanksOf(const std::vector<UsageRow>& rows, std::vector<size_t> order) {
  std::vector<size_t> rank(rows.size(), 0);
  const auto add_ranks = [&](const auto& less) {
    std::stable_sort(order.begin(), order.end(), less);
    size_t place = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0 && less(order[i - 1], order[i])) place = i;
      rank[order[i]] += place;
    }
  };
  add_ranks([&](size_t a, size_t b) {
    return rows[a].record.last_used.value_or(WallTime()) <
           rows[b].record.last_used.value_or(WallTime());
  });
  add_ranks(
      [&](size_t a, size_t b) { return rows[a].record.usage_count < rows[b].record.usage_count; });
  return rank;
}

// What one rule takes, in that order: a record only after all that stands on it.
class PruneOrder {
 public:
  PruneOrder(std::vector<UsageRow>* rows, const PruneRule& rule, const Filter& filter, WallTime now)
      : rows_(*rows), allowed_(rows->size(), false) {
    std::vector<size_t> allowed;
    for (size_t i = 0; i < rows_.size(); ++i) {
      at_.emplace(rows_[i].num, i);
      allowed_[i] = MayGo(rows_[i].record, rule, filter, now);
      if (allowed_[i]) allowed.push_back(i);
    }
    rank_ = RanksOf(rows_, allowed);
    for (const size_t i : allowed) Offer(i);
  }

  // The next ones, while more than `keep` would be left of `total`.
  std::vector<size_t> Next(size_t most, uint64_t total, std::optional<uint64_t> keep) {
    std::vector<size_t> batch;
    while (batch.size() < most && !ready_.empty() && IsMore(total, keep)) {
      const size_t i = ready_.top().index;
      ready_.pop();
      batch.push_back(i);
      total -= std::min(total, rows_[i].record.size_bytes);
      for (const int64_t below : rows_[i].stands_on) {
        const auto found = at_.find(below);
        if (found == at_.end()) continue;
        --rows_[found->second].children;
        Offer(found->second);
      }
    }
    return batch;
  }

 private:
  struct Ready {
    size_t rank;
    int64_t num;
    size_t index;
    bool operator>(const Ready& other) const {
      return rank != other.rank ? rank > other.rank : num > other.num;
    }
  };

  static bool IsMore(uint64_t total, std::optional<uint64_t> keep) {
    return !keep || (total >= *keep && total > 0);
  }
  void Offer(size_t i) {
    if (allowed_[i] && rows_[i].children == 0) ready_.push({rank_[i], rows_[i].num, i});
  }

  std::vector<UsageRow>& rows_;
  std::vector<bool> allowed_;
  std::vector<size_t> rank_;
  std::unordered_map<int64_t, size_t> at_;
  std::priority_queue<Ready, std::vector<Ready>, std::greater<>> ready_;
};

// How many records go in one transaction: each removal changes pages all over the indices, so the
// more go at once, the fewer are written. A disk that is to have room again is asked more often how
// much it has, and where there is little of it, a small transaction must make room for the next.
size_t BatchSize(const PruneRule& rule, uint64_t free_bytes) {
  if (rule.min_free_bytes > 0 || free_bytes < uint64_t{64} << 20) return 100;
  return free_bytes < uint64_t{512} << 20 ? 1000 : 5000;
}

}  // namespace

// Removes what `batch` names in one transaction, and tells; how many bytes that freed.
Result<uint64_t> Collection::RemoveBatch(const std::vector<UsageRow>& rows,
                                         const std::vector<size_t>& batch, LinkedOwners* owners,
                                         const PrunedFn& pruned) {
  std::vector<int64_t> nums;
  for (const size_t i : batch) nums.push_back(rows[i].num);
  TRY_ASSIGN(const std::vector<bool> removed, records_->RemoveAll(nums));
  uint64_t bytes = 0;
  std::vector<std::string> ids;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!removed[i]) continue;
    const UsageRow& row = rows[batch[i]];
    bytes += row.dir_bytes.value_or(0) + row.blob_bytes + owners->Remove(row.linked);
    ids.push_back(row.record.id);
  }
  if (on_collected_ && !ids.empty()) on_collected_(ids);
  for (size_t i = 0; pruned && i < batch.size(); ++i) {
    if (removed[i]) pruned(rows[batch[i]].record);
  }
  return bytes;
}

Status Collection::PruneByRule(const progress::Activity& activity, const PruneRule& rule,
                               const PrunedFn& pruned) {
  TRY_ASSIGN(const Filter filter, Filter::Parse(rule.filters));
  TRY_ASSIGN(std::vector<UsageRow> rows, ReadUsage());
  const WallTime now = root_->clock().Now();
  Measure(&rows);
  if (!KeepBytes(rule, 0, UINT64_MAX)) {  // all that may go does: their rows need no size any more
    for (UsageRow& row : rows) row.learnt = row.learnt && !MayGo(row.record, rule, filter, now);
  }
  TRY(NoteSizes(rows));
  uint64_t total = 0;
  LinkedOwners owners;
  for (const UsageRow& row : rows) {
    if (!row.record.shared) total += row.record.size_bytes;
    (void)owners.Add(row.linked);
  }
  PruneOrder order(&rows, rule, filter, now);
  while (true) {
    TRY(activity.Check());
    // What was pruned before counts as free, and sizes are what we think they are: the disk says
    // how much is still to do.
    if (rule.min_free_bytes > 0) root_->janitor().Drain();
    const uint64_t free_bytes = root_->FreeBytes();
    const std::optional<uint64_t> keep = KeepBytes(rule, total, free_bytes);
    const std::vector<size_t> batch = order.Next(BatchSize(rule, free_bytes), total, keep);
    if (batch.empty()) return OkStatus();
    TRY_ASSIGN(const uint64_t bytes, RemoveBatch(rows, batch, &owners, pruned));
    total -= std::min(total, bytes);
  }
}

Status Collection::Prune(const progress::Activity& activity, std::span<const PruneRule> rules,
                         const PrunedFn& pruned) {
  const MutexLock pruning(pruning_);
  root_->GiveUpBallast();  // room for the rows that say what goes
  for (const PruneRule& rule : rules) {
    TRY(PruneByRule(activity, rule, pruned));
  }
  TRY(blobs_->Sweep());
  indexes_->Trim(false);
  return root_->MakeBallast();
}

}  // namespace kiln::store
