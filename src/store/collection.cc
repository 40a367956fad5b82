// Which records go.
#include "store/collection.h"

#include <algorithm>

#include "base/filter.h"

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
  TRY(Measure(&rows));
  const WallTime now = root_->clock().Now();
  std::vector<UsageRecord> records;
  for (UsageRow& row : rows) {
    if (Matches(filter, row.record) && IsOlder(row.record, now, age_limit))
      records.push_back(std::move(row.record));
  }
  return records;
}

namespace {

std::vector<size_t> EligibleOf(const std::vector<UsageRow>& rows, const std::vector<bool>& tried,
                               const PruneRule& rule, const Filter& filter, WallTime now) {
  std::vector<size_t> eligible;
  for (size_t i = 0; i < rows.size(); ++i) {
    const UsageRecord& record = rows[i].record;
    if (tried[i] || record.in_use || rows[i].children > 0) continue;
    if (!rule.all &&
        (record.type == kTypeInternal || record.type == kTypeFrontend || record.shared))
      continue;
    if (!IsOlder(record, now, rule.keep_duration) || !Matches(filter, record)) continue;
    eligible.push_back(i);
  }
  return eligible;
}

// Least recently and least often used first: by the sum of both ranks.
size_t Cheapest(const std::vector<UsageRow>& rows, const std::vector<size_t>& eligible) {
  std::vector<size_t> rank(rows.size(), 0);
  std::vector<size_t> order = eligible;
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
  return *std::min_element(eligible.begin(), eligible.end(), [&](size_t a, size_t b) {
    return rank[a] != rank[b] ? rank[a] < rank[b] : rows[a].num < rows[b].num;
  });
}

}  // namespace

Status Collection::PruneByRule(const progress::Activity& activity, const PruneRule& rule,
                               const PrunedFn& pruned) {
  TRY_ASSIGN(const Filter filter, Filter::Parse(rule.filters));
  TRY_ASSIGN(std::vector<UsageRow> rows, ReadUsage());
  TRY(Measure(&rows));
  std::unordered_map<int64_t, size_t> at;
  uint64_t total = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    at.emplace(rows[i].num, i);
    if (!rows[i].record.shared) total += rows[i].record.size_bytes;
  }
  if (rule.min_free_bytes > 0) root_->janitor().Drain();  // what was pruned before counts as free
  const uint64_t free_bytes = root_->FreeBytes();
  const std::optional<uint64_t> keep = KeepBytes(rule, total, free_bytes);
  const WallTime now = root_->clock().Now();
  std::vector<bool> tried(rows.size(), false);
  while (!keep || total >= *keep) {
    TRY(activity.Check());
    const std::vector<size_t> eligible = EligibleOf(rows, tried, rule, filter, now);
    if (eligible.empty() || (keep && total == *keep && total == 0)) break;
    std::vector<size_t> batch = eligible;
    if (keep) batch = {Cheapest(rows, eligible)};
    for (const size_t i : batch) {
      tried[i] = true;
      TRY_ASSIGN(const bool removed, records_->Remove(rows[i].num));
      if (!removed) continue;
      total -= std::min(total, rows[i].record.size_bytes);
      for (const int64_t below : rows[i].stands_on) {
        if (const auto found = at.find(below); found != at.end()) --rows[found->second].children;
      }
      if (on_collected_) {
        const std::string& id = rows[i].record.id;
        on_collected_(std::span<const std::string>(&id, 1));
      }
      if (pruned) pruned(rows[i].record);
    }
  }
  return OkStatus();
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
