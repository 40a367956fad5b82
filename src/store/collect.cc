// Usage and collection.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/filter.h"
#include "base/log.h"
#include "base/strings.h"
#include "store/delta.h"
#include "store/store_impl.h"

namespace kiln::store {

struct Store::Impl::UsageRow {
  UsageRecord record;
  int64_t num = 0;
  RecordKind kind = RecordKind::kLayer;
  bool local = false;
  std::optional<uint64_t> dir_bytes;
  uint64_t blob_bytes = 0;
  std::vector<int64_t> stands_on;  // parents and inputs
  size_t children = 0;
};

Result<std::vector<Store::Impl::UsageRow>> Store::Impl::ReadUsage() {
  std::vector<UsageRow> rows;
  std::unordered_map<int64_t, size_t> at;
  TRY(database->Write(
      [](SqliteConnection&) { return OkStatus(); }));  // uses that are still in the queue count
  TRY(database->Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(
        SqliteStatement query,
        db.Prepare("SELECT num,id,kind,parent,local,type,description,created,last_used,usage_count,"
                   "size FROM records ORDER BY num"));
    while (true) {
      TRY_ASSIGN(const bool more, query.Step());
      if (!more) break;
      UsageRow row;
      row.num = query.Int(0);
      row.record.id = query.Text(1);
      row.kind = static_cast<RecordKind>(query.Int(2));
      if (!query.IsNull(3)) row.stands_on.push_back(query.Int(3));
      row.local = query.Int(4) != 0;
      row.record.type = query.Text(5);
      row.record.description = query.Text(6);
      row.record.created = FromUnixNanos(query.Int(7));
      if (!query.IsNull(8)) row.record.last_used = FromUnixNanos(query.Int(8));
      row.record.usage_count = query.Int(9);
      if (!query.IsNull(10)) row.dir_bytes = static_cast<uint64_t>(query.Int(10));
      row.record.is_mutable = row.kind == RecordKind::kNamed;
      at.emplace(row.num, rows.size());
      rows.push_back(std::move(row));
    }
    TRY_ASSIGN(SqliteStatement inputs,
               db.Prepare("SELECT record,input FROM record_inputs ORDER BY record,position"));
    while (true) {
      TRY_ASSIGN(const bool more, inputs.Step());
      if (!more) break;
      if (const auto found = at.find(inputs.Int(0)); found != at.end())
        rows[found->second].stands_on.push_back(inputs.Int(1));
    }
    // A blob that several layers have is the oldest one's.
    TRY_ASSIGN(SqliteStatement blob_sizes,
               db.Prepare("SELECT min(l.record),b.size FROM layer_blobs l JOIN blobs b "
                          "ON b.digest=l.digest GROUP BY b.digest"));
    while (true) {
      TRY_ASSIGN(const bool more, blob_sizes.Step());
      if (!more) break;
      const auto found = at.find(blob_sizes.Int(0));
      if (found != at.end())
        rows[found->second].blob_bytes += static_cast<uint64_t>(blob_sizes.Int(1));
    }
    return OkStatus();
  }));
  for (UsageRow& row : rows) {
    for (const int64_t below : row.stands_on) {
      const auto found = at.find(below);
      if (found == at.end()) continue;
      ++rows[found->second].children;
      row.record.parents.push_back(rows[found->second].record.id);
    }
  }
  MutexLock guard(mutex);
  for (UsageRow& row : rows) {
    const auto record = live.find(row.num);
    const auto named = live_named.find(row.num);
    row.record.in_use = (record != live.end() && !record->second.expired()) ||
                        (named != live_named.end() && !named->second.expired());
  }
  return rows;
}

static Result<uint64_t> OwnBytes(const SnapshotDirs& dirs) {
  std::set<uint64_t> not_counted;
  if (auto text = ReadFile(dirs.links, size_t{1} << 30); text.ok()) {
    for (std::string_view line : Split(*text, '\n')) {
      if (const auto inode = ParseUint(line)) not_counted.insert(*inode);
    }
  }
  return DiskBytes(dirs.fs, not_counted);
}

// What a list of layers shows as one directory, beside the snapshot. Its links are the layers' own.
static Result<uint64_t> FlatBytes(const std::string& top) {
  uint64_t bytes = 0;
  if (access(top.c_str(), F_OK) != 0) return bytes;
  TRY_ASSIGN(const Fd fd, OpenFile(top, O_RDONLY | O_DIRECTORY));
  TRY_ASSIGN(const std::vector<sys::DirEntry> entries, sys::ReadDir(fd.get()));
  for (const sys::DirEntry& entry : entries) {
    if (!entry.name.starts_with("flat-")) continue;
    TRY_ASSIGN(const sys::RootedPath flat, sys::RootedPath::Open(top + "/" + entry.name));
    TRY(sys::Walk(flat, "", [&](const sys::WalkEntry& at) -> Result<sys::WalkNext> {
      if (at.info.IsDirectory() || at.info.nlink == 1) bytes += at.info.blocks * 512;
      return sys::WalkNext::kContinue;
    }));
  }
  return bytes;
}

// Walks what has not been measured. What is being written counts as nothing yet.
Status Store::Impl::Measure(std::vector<UsageRow>* rows) {
  std::vector<std::pair<int64_t, uint64_t>> measured;
  for (UsageRow& row : *rows) {
    const bool has_directory =
        row.kind == RecordKind::kNamed || (row.kind == RecordKind::kLayer && row.local);
    if (!row.dir_bytes && !(row.record.is_mutable && row.record.in_use)) {
      const SnapshotDirs dirs = DirsOf(row.num);
      auto bytes = has_directory ? OwnBytes(dirs) : Result<uint64_t>(0);
      auto flat = bytes.ok() ? FlatBytes(dirs.top) : Result<uint64_t>(0);
      if (bytes.ok() && flat.ok()) {
        row.dir_bytes = *bytes + *flat;
        measured.emplace_back(row.num, *row.dir_bytes);
      }
    }
    row.record.size_bytes = row.dir_bytes.value_or(0) + row.blob_bytes;
  }
  if (measured.empty()) return OkStatus();
  return database->Write([&](SqliteConnection& db) -> Status {
    for (const auto& [num, bytes] : measured) {
      TRY_ASSIGN(SqliteStatement update, db.Prepare("UPDATE records SET size=? WHERE num=?"));
      TRY(update.Bind(static_cast<int64_t>(bytes)).Bind(num).Run());
    }
    return OkStatus();
  });
}

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

Result<std::vector<UsageRecord>> Store::DiskUsage(const std::vector<std::string>& filters,
                                                  std::chrono::nanoseconds age_limit) {
  TRY_ASSIGN(const Filter filter, Filter::Parse(filters));
  TRY_ASSIGN(std::vector<Impl::UsageRow> rows, impl_->ReadUsage());
  TRY(impl_->Measure(&rows));
  const WallTime now = impl_->clock->Now();
  std::vector<UsageRecord> records;
  for (Impl::UsageRow& row : rows) {
    if (Matches(filter, row.record) && IsOlder(row.record, now, age_limit))
      records.push_back(std::move(row.record));
  }
  return records;
}

namespace {

template <typename Row>
std::vector<size_t> EligibleOf(const std::vector<Row>& rows, const std::vector<bool>& tried,
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
template <typename Row>
size_t Cheapest(const std::vector<Row>& rows, const std::vector<size_t>& eligible) {
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

Status Store::Impl::PruneByRule(const progress::Activity& activity, const PruneRule& rule,
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
  if (rule.min_free_bytes > 0) janitor->Drain();  // what was pruned before counts as free
  struct statvfs fs;
  const uint64_t free_bytes =
      statvfs(root.c_str(), &fs) == 0 ? uint64_t{fs.f_bavail} * fs.f_frsize : UINT64_MAX;
  const std::optional<uint64_t> keep = KeepBytes(rule, total, free_bytes);
  const WallTime now = clock->Now();
  std::vector<bool> tried(rows.size(), false);
  while (!keep || total >= *keep) {
    TRY(activity.Check());
    const std::vector<size_t> eligible = EligibleOf(rows, tried, rule, filter, now);
    if (eligible.empty() || (keep && total == *keep && total == 0)) break;
    std::vector<size_t> batch = eligible;
    if (keep) batch = {Cheapest(rows, eligible)};
    for (const size_t i : batch) {
      tried[i] = true;
      TRY_ASSIGN(const bool removed, Remove(rows[i].num));
      if (!removed) continue;
      total -= std::min(total, rows[i].record.size_bytes);
      for (const int64_t below : rows[i].stands_on) {
        if (const auto found = at.find(below); found != at.end()) --rows[found->second].children;
      }
      if (on_collected) {
        const std::string& id = rows[i].record.id;
        on_collected(std::span<const std::string>(&id, 1));
      }
      if (pruned) pruned(rows[i].record);
    }
  }
  return OkStatus();
}

Status Store::Prune(const progress::Activity& activity, std::span<const PruneRule> rules,
                    const PrunedFn& pruned) {
  MutexLock pruning(impl_->prune_mutex);
  struct statvfs fs;
  // Room for the rows that say what goes.
  const bool full = statvfs(impl_->root.c_str(), &fs) == 0 &&
                    uint64_t{fs.f_bavail} * fs.f_frsize < impl_->options.ballast_bytes;
  if (full) (void)unlink((impl_->root + "/ballast").c_str());
  for (const PruneRule& rule : rules) {
    TRY(impl_->PruneByRule(activity, rule, pruned));
  }
  TRY(impl_->blobs->Sweep());
  impl_->indexes->Trim(false);
  return impl_->MakeBallast();
}

void Store::WaitForDeletions() { impl_->janitor->Drain(); }

}  // namespace kiln::store
