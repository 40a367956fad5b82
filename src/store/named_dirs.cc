#include "store/named_dirs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "base/log.h"
#include "store/copy.h"
#include "store/record_rows.h"

namespace kiln::store {
namespace {

struct NamedRow {
  int64_t num = 0;
  std::string id;
  bool dirty = false;
};

Result<std::vector<NamedRow>> RowsOf(Database& database, const std::string& key) {
  std::vector<NamedRow> rows;
  TRY(database.Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query,
               db.Prepare("SELECT num,id,dirty FROM records WHERE named_key=? ORDER BY num"));
    query.Bind(key);
    while (true) {
      TRY_ASSIGN(const bool row, query.Step());
      if (!row) return OkStatus();
      rows.push_back({query.Int(0), query.Text(1), query.Int(2) != 0});
    }
  }));
  return rows;
}

// The keys that are `key`, ":" and an id.
Result<std::vector<int64_t>> RecordsWithInitial(Database& database, const std::string& key) {
  constexpr int64_t kIdSize = 25;  // base/ids.h; what is longer or shorter is another's key
  const std::string first = key + ":";
  const std::string end = key + ";";  // the character after ':'
  std::vector<int64_t> nums;
  TRY(database.Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query,
               db.Prepare("SELECT num FROM records WHERE named_key>? AND named_key<? AND "
                          "length(CAST(named_key AS BLOB))=? ORDER BY num"));
    query.Bind(first).Bind(end).Bind(static_cast<int64_t>(first.size()) + kIdSize);
    while (true) {
      TRY_ASSIGN(const bool row, query.Step());
      if (!row) return OkStatus();
      nums.push_back(query.Int(0));
    }
  }));
  return nums;
}

}  // namespace

std::shared_ptr<NamedState> NamedDirs::NewState(const RecordRow& row,
                                                const NamedDirOptions& wanted) const {
  auto state = std::make_shared<NamedState>();
  state->num = row.num;
  state->id = row.id;
  state->dirs = root_->DirsOf(row.num);
  state->sharing = wanted.sharing;
  state->keep_if_dirty = wanted.keep_if_dirty;
  state->description = wanted.description;
  return state;
}

Result<std::shared_ptr<NamedState>> NamedDirs::Take(const NamedDirOptions& wanted, bool* busy) {
  *busy = false;
  TRY_ASSIGN(const std::vector<NamedRow> rows, RowsOf(root_->database(), wanted.key));
  for (const NamedRow& row : rows) {
    std::shared_ptr<NamedState> state;  // outlives the lock: its destructor takes that
    const MutexLock lock(mutex_);
    auto& slot = live_[row.num];
    state = slot.lock();
    if (state != nullptr) {
      const bool joins = wanted.sharing == Sharing::kShared && state->sharing == Sharing::kShared;
      if (joins && !condemned_.contains(row.num)) return state;
      *busy = *busy || !state->discard;
      continue;
    }
    if (condemned_.contains(row.num) || (row.dirty && !wanted.keep_if_dirty)) continue;
    RecordRow found;
    found.num = row.num;
    found.id = row.id;
    state = NewState(found, wanted);
    if (!records_->HoldNamed(row.num, state)) {  // it is being collected
      live_.erase(row.num);
      continue;
    }
    state->home = this;
    slot = state;
    return state;
  }
  return std::shared_ptr<NamedState>();
}

Result<std::shared_ptr<NamedState>> NamedDirs::Make(const progress::Activity& activity,
                                                    const NamedDirOptions& wanted) {
  CommitOptions commit;
  commit.type = wanted.type;
  commit.description = wanted.description;
  RecordRow row = records_->NewRow(RecordKind::kNamed, commit);
  row.num = root_->NextNum();
  row.local = true;
  std::shared_ptr<NamedState> state = NewState(row, wanted);
  state->is_new = wanted.initial.is_scratch();
  state->recorded = false;  // until it is whole
  state->home = this;
  records_->HoldNamed(row.num, state);
  {
    const MutexLock lock(mutex_);
    live_[row.num] = state;
  }
  TRY(Fill(activity, *state, wanted.initial));
  TRY(records_->InsertNamed(row, wanted.key));
  state->recorded = true;
  return state;
}

Status NamedDirs::Fill(const progress::Activity& activity, const NamedState& state,
                       const SnapshotRef& initial) {
  const SnapshotDirs& dirs = state.dirs;
  if (mkdir(dirs.top.c_str(), 0700) != 0 || mkdir(dirs.fs.c_str(), 0755) != 0)
    return ErrnoError(errno, "create {}", dirs.fs);
  if (chmod(dirs.fs.c_str(), 0755) != 0) return ErrnoError(errno, "chmod {}", dirs.fs);
  if (initial.is_scratch()) return OkStatus();
  TRY(layers_->EnsureLocal(activity, initial));
  TRY_ASSIGN(const TreeView view,
             views_->ViewOf(VisibleChainOf(initial.record()), initial.record()));
  TRY_ASSIGN(sys::RootedPath directory, sys::RootedPath::Open(dirs.fs));
  LayerWriter writer(TreeView(), std::move(directory), {root_->options().privileges, nullptr});
  CopyOptions copy;
  copy.keep_existing_root = false;
  TRY_ASSIGN(const TreeEntry source, view.Root());
  TRY(CopyTree(activity, view, source, writer, "/", copy));
  return OkStatus();
}

Status NamedDirs::RetireOne(int64_t num) {
  std::shared_ptr<NamedState> state;
  {
    const MutexLock lock(mutex_);
    const auto found = live_.find(num);
    if (found != live_.end()) state = found->second.lock();
    if (state != nullptr) condemned_.insert(num);
  }
  if (state == nullptr) {
    TRY(records_->Remove(num));
    return OkStatus();
  }
  state->discard = true;
  return OkStatus();
}

Status NamedDirs::Retire(const std::string& key, bool for_any_initial) {
  TRY_ASSIGN(const std::vector<NamedRow> rows, RowsOf(root_->database(), key));
  for (const NamedRow& row : rows) TRY(RetireOne(row.num));
  if (!for_any_initial) return OkStatus();
  TRY_ASSIGN(const std::vector<int64_t> nums, RecordsWithInitial(root_->database(), key));
  for (const int64_t num : nums) TRY(RetireOne(num));
  return OkStatus();
}

uint64_t NamedDirs::Releases() {
  const MutexLock lock(mutex_);
  return releases_;
}

void NamedDirs::Release(int64_t num) {
  records_->ReleaseNamed(num);
  const MutexLock lock(mutex_);
  condemned_.erase(num);
  const auto found = live_.find(num);
  if (found != live_.end() && found->second.expired()) live_.erase(found);
  ++releases_;
  released_.NotifyAll();
}

void NamedDirs::WaitForRelease(const progress::Activity& activity, uint64_t since) {
  MutexLock lock(mutex_);
  while (releases_ == since && activity.Check().ok()) {
    if (activity.deadline) {
      released_.WaitUntil(lock, *activity.deadline);
    } else {
      released_.Wait(lock);
    }
  }
}

Result<NamedDir> NamedDirs::Open(const progress::Activity& activity,
                                 const NamedDirOptions& options) {
  if (options.key.empty()) return InvalidArgument("a named directory needs a key");
  const auto wake = activity.cancel.OnCancel([this] {
    const MutexLock lock(mutex_);
    released_.NotifyAll();
  });
  while (true) {
    TRY(activity.Check());
    const uint64_t releases = Releases();
    bool busy = false;
    {
      TRY_ASSIGN(const KeyedGate::Ticket opening, opening_.Enter(activity, options.key));
      TRY_ASSIGN(std::shared_ptr<NamedState> state, Take(options, &busy));
      if (state == nullptr && !(options.sharing == Sharing::kLocked && busy)) {
        TRY_ASSIGN(state, Make(activity, options));
      }
      if (state != nullptr) return NamedState::Wrap(std::move(state));
    }
    WaitForRelease(activity, releases);
  }
}

Result<SnapshotRef> NamedDirs::Freeze(const NamedDir& dir, bool received) {
  if (!dir.valid()) return FailedPrecondition("freezing no directory");
  const std::shared_ptr<NamedState>& held = NamedState::Of(dir);
  if (held->sharing == Sharing::kShared)
    return FailedPrecondition("a shared directory cannot be frozen");
  RecordRow row;
  row.num = held->num;
  row.id = held->id;
  row.kind = RecordKind::kNamed;
  row.local = true;
  row.type = std::string(kTypeLocalSource);
  row.description = held->description;
  row.created = root_->clock().Now();
  auto state = std::make_shared<RecordState>(std::move(row));
  state->frozen = held;
  state->received = received;
  return SnapshotRef(std::move(state));
}

void NamedDirs::RemoveDirty() {
  std::vector<int64_t> nums;
  const Status read = root_->database().Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query,
               db.Prepare("SELECT num FROM records WHERE kind=3 AND dirty=1"));
    TRY_ASSIGN(nums, NumsOf(std::move(query)));
    return OkStatus();
  });
  if (!read.ok() || nums.empty()) return;
  for (const int64_t num : nums) {
    if (auto removed = records_->Remove(num); !removed.ok())
      LOG_WARNING("removing directory {}: {}", num, removed.error());
  }
  root_->janitor().Drain();
}

}  // namespace kiln::store
