// Rows of records and the holds on them.
#include <algorithm>

#include "base/ids.h"
#include "base/log.h"
#include "store/store_impl.h"

namespace kiln::store {
namespace {

constexpr std::string_view kColumns =
    "SELECT num,id,kind,parent,local,standalone,diff_id,chain_id,type,description,created FROM "
    "records WHERE num=?";

Result<std::optional<RecordRow>> ReadRow(SqliteConnection& db, int64_t num) {
  TRY_ASSIGN(SqliteStatement query, db.Prepare(kColumns));
  TRY_ASSIGN(const bool found, query.Bind(num).Step());
  if (!found) return std::optional<RecordRow>();
  RecordRow row;
  row.num = query.Int(0);
  row.id = query.Text(1);
  row.kind = static_cast<RecordKind>(query.Int(2));
  row.parent = query.Int(3);
  row.local = query.Int(4) != 0;
  row.standalone = query.Int(5) != 0;
  if (!query.IsNull(6)) row.diff_id = query.DigestAt(6);
  if (!query.IsNull(7)) row.chain_id = query.DigestAt(7);
  row.type = query.Text(8);
  row.description = query.Text(9);
  row.created = FromUnixNanos(query.Int(10));
  return std::optional<RecordRow>(std::move(row));
}

Result<std::vector<int64_t>> ReadInputs(SqliteConnection& db, int64_t num) {
  TRY_ASSIGN(SqliteStatement query,
             db.Prepare("SELECT input FROM record_inputs WHERE record=? ORDER BY position"));
  query.Bind(num);
  std::vector<int64_t> inputs;
  while (true) {
    TRY_ASSIGN(const bool row, query.Step());
    if (!row) return inputs;
    inputs.push_back(query.Int(0));
  }
}

// What fsck would find, as far as it could lead in circles or nowhere.
Status CheckRow(const RecordRow& row, const std::vector<int64_t>& inputs) {
  if (row.kind < RecordKind::kLayer || row.kind > RecordKind::kNamed)
    return DataLoss("record {} is of an unknown kind", row.id);
  if (inputs.empty() && (row.kind == RecordKind::kMerge || row.kind == RecordKind::kReused))
    return DataLoss("record {} has no inputs", row.id);
  const auto is_older = [&](int64_t below) { return below < row.num; };
  if ((row.parent == 0 || is_older(row.parent)) &&
      std::all_of(inputs.begin(), inputs.end(), is_older))
    return OkStatus();
  return DataLoss("record {} stands on one that is not older", row.id);
}

Digest ChainIdOf(const std::optional<Digest>& parent, const Digest& diff_id) {
  return parent ? Sha256Of(parent->ToString() + " " + diff_id.ToString()) : diff_id;
}

Status InsertRow(SqliteConnection& db, const RecordRow& row, std::optional<uint64_t> size,
                 const std::string& named_key, int64_t seq) {
  TRY_ASSIGN(
      SqliteStatement insert,
      db.Prepare(
          "INSERT INTO "
          "records(num,id,kind,parent,local,standalone,diff_id,chain_id,type,description,created,"
          "size,named_key,seq) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
  insert.Bind(row.num).Bind(row.id).Bind(static_cast<int64_t>(row.kind));
  (row.parent == 0 ? insert.BindNull() : insert.Bind(row.parent))
      .Bind(int64_t{row.local})
      .Bind(int64_t{row.standalone});
  insert.BindOptional(row.diff_id).BindOptional(row.chain_id);
  insert.Bind(row.type).Bind(row.description).Bind(UnixNanos(row.created));
  if (size) {
    insert.Bind(static_cast<int64_t>(*size));
  } else {
    insert.BindNull();
  }
  if (named_key.empty()) {
    insert.BindNull();
  } else {
    insert.Bind(named_key);
  }
  return insert.Bind(seq).Run();
}

}  // namespace

RecordRow Store::Impl::NewRow(RecordKind kind, const CommitOptions& commit) const {
  RecordRow row;
  row.id = NewId();
  row.kind = kind;
  row.type = commit.type.empty() ? std::string(kTypeRegular) : commit.type;
  row.description = commit.description;
  row.created = commit.created.value_or(clock->Now());
  return row;
}

Result<std::optional<int64_t>> Store::Impl::FindId(const std::string& id) {
  std::optional<int64_t> num;
  TRY(database->Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query, db.Prepare("SELECT num FROM records WHERE id=?"));
    TRY_ASSIGN(const bool row, query.Bind(id).Step());
    if (row) num = query.Int(0);
    return OkStatus();
  }));
  return num;
}

// What a record stands on is acquired first, so that it cannot go in between. Chains are as long as
// the user makes them: an explicit stack, no recursion along parents.
Result<RecordPtr> Store::Impl::Acquire(int64_t num) {
  std::vector<int64_t> pending{num};
  std::unordered_map<int64_t, RecordPtr> held;
  uint64_t epoch = 0;
  {
    MutexLock guard(mutex);
    epoch = epoch_counter;
  }
  while (!pending.empty()) {
    const int64_t at = pending.back();
    {
      MutexLock guard(mutex);
      if (doomed.contains(at)) return RecordPtr();
      const auto found = live.find(at);
      if (found != live.end()) {
        if (RecordPtr state = found->second.lock()) {
          held[at] = std::move(state);
          pending.pop_back();
          continue;
        }
      }
    }
    std::optional<RecordRow> row;
    std::vector<int64_t> inputs;
    TRY(database->Read([&](SqliteConnection& db) -> Status {
      TRY_ASSIGN(row, ReadRow(db, at));
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
    // Here and below not make_shared: weak pointers in `live` must not keep the memory.
    RecordPtr state(new RecordState(*row));
    state->store = this;
    state->diff_id = row->diff_id;
    state->chain_id = row->chain_id;
    if (row->parent != 0) state->parent = held[row->parent];
    for (const int64_t input : inputs) state->inputs.push_back(held[input]);
    TRY(CountLayers(*state));
    MutexLock guard(mutex);
    if (epoch != epoch_counter) {  // something was collected meanwhile, perhaps this: look again
      epoch = epoch_counter;
      continue;
    }
    SweepLive();
    auto& slot = live[at];
    RecordPtr other = slot.lock();
    if (other == nullptr) slot = state;
    held[at] = other != nullptr ? other : state;
    pending.pop_back();
  }
  return held[num];
}

void Store::Impl::SweepLive() {
  if (live.size() < live_limit) return;
  std::erase_if(live, [](const auto& item) { return item.second.expired(); });
  live_limit = std::max<size_t>(64, 2 * live.size());
}

Result<RecordPtr> Store::Impl::Insert(RecordRow row, RecordPtr parent,
                                      std::vector<RecordPtr> inputs, const CommitOptions& commit,
                                      std::optional<uint64_t> size) {
  if (row.num == 0) row.num = next_num.fetch_add(1);
  row.parent = parent == nullptr ? 0 : parent->row.num;
  RecordPtr state(new RecordState(row));
  state->store = this;
  state->used = true;
  state->diff_id = row.diff_id;
  state->chain_id = row.chain_id;
  state->parent = std::move(parent);
  state->inputs = std::move(inputs);
  TRY(CountLayers(*state));
  {
    // Before the row: collection must never see the one without the other.
    MutexLock guard(mutex);
    SweepLive();
    live[row.num] = state;
  }
  const int64_t seq = NextSeq();
  TRY(database->Write([&](SqliteConnection& db) -> Status {
    TRY(InsertRow(db, row, size, "", seq));
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
  janitor->WantSync();
  return state;
}

void Store::Impl::Used(int64_t num) {
  const int64_t now = UnixNanos(clock->Now());
  database->WriteLater([num, now](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update,
               db.Prepare("UPDATE records SET last_used=?, usage_count=usage_count+1 WHERE num=?"));
    return update.Bind(now).Bind(num).Run();
  });
}

Result<bool> Store::Impl::Remove(int64_t num) {
  {
    MutexLock guard(mutex);
    const auto found = live.find(num);
    if (found != live.end() && !found->second.expired()) return false;
    const auto named = live_named.find(num);
    if (named != live_named.end() && !named->second.expired()) return false;
    if (!doomed.insert(num).second) return false;
    ++epoch_counter;
    live.erase(num);
    live_named.erase(num);
  }
  // Nobody can begin to stand on it now, and whoever did has committed that.
  bool removed = false;
  const Status status = database->Write([&](SqliteConnection& db) -> Status {
    {
      TRY_ASSIGN(SqliteStatement child,
                 db.Prepare("SELECT 1 FROM records WHERE parent=?1 UNION ALL "
                            "SELECT 1 FROM record_inputs WHERE input=?1 LIMIT 1"));
      TRY_ASSIGN(const bool has_child, child.Bind(num).Step());
      if (has_child) return OkStatus();
    }
    for (std::string_view sql :
         {"DELETE FROM record_inputs WHERE record=?", "DELETE FROM labels WHERE record=?",
          "DELETE FROM layer_blobs WHERE record=?", "DELETE FROM records WHERE num=?"}) {
      TRY_ASSIGN(SqliteStatement erase, db.Prepare(sql));
      TRY(erase.Bind(num).Run());
    }
    TRY_ASSIGN(SqliteStatement last,
               db.Prepare("INSERT OR REPLACE INTO meta(key,value) SELECT 'num',CAST(?1 AS TEXT) "
                          "WHERE ?1>coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE "
                          "key='num'),0)"));
    TRY(last.Bind(num).Run());
    removed = true;
    return OkStatus();
  });
  if (status.ok() && removed) {
    indexes->Forget(num);
    Trash(DirsOf(num).top);
  }
  MutexLock guard(mutex);
  doomed.erase(num);
  TRY(status);
  return removed;
}

std::optional<Digest> Store::Impl::ChainIdOf(const RecordPtr& record) {
  if (record == nullptr) return std::nullopt;
  {
    MutexLock guard(record->mutex);
    if (record->chain_id) return record->chain_id;
  }
  std::optional<Digest> chain;
  for (const RecordPtr& layer : ChainOf(record)) {
    MutexLock guard(layer->mutex);
    if (!layer->diff_id) return std::nullopt;
    chain = store::ChainIdOf(chain, *layer->diff_id);
  }
  return chain;
}

Status Store::Impl::LearnDiffId(const RecordPtr& record, const Digest& diff_id) {
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
  return database->Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update,
               db.Prepare("UPDATE records SET diff_id=?, chain_id=? WHERE num=?"));
    return update.Bind(diff_id).BindOptional(chain).Bind(record->row.num).Run();
  });
}

Status Store::Impl::InsertNamed(RecordRow row, const std::string& key) {
  const int64_t seq = NextSeq();
  return database->Write(
      [&](SqliteConnection& db) { return InsertRow(db, row, std::nullopt, key, seq); });
}

// --- Store's own
// --------------------------------------------------------------------------------------------------------
const std::string& SnapshotRef::id() const {
  static const std::string kNone;
  return state_ == nullptr ? kNone : state_->row.id;
}

bool SnapshotRef::is_ephemeral() const { return state_ != nullptr && state_->frozen != nullptr; }

Result<SnapshotRef> Store::Claim(const std::string& record_id) {
  TRY_ASSIGN(const std::optional<int64_t> num, impl_->FindId(record_id));
  if (!num) return NotFound("record {}: not found", record_id);
  TRY_ASSIGN(RecordPtr record, impl_->Acquire(*num));
  if (record == nullptr || record->row.kind == RecordKind::kNamed)
    return NotFound("record {}: not found", record_id);
  record->used = true;
  return SnapshotRef(std::move(record));
}

Result<SnapshotRef> Store::FindByChain(const Digest& chain_id) {
  std::vector<int64_t> nums;
  TRY(impl_->database->Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query,
               db.Prepare("SELECT num FROM records WHERE chain_id=? ORDER BY local DESC, num"));
    query.Bind(chain_id);
    while (true) {
      TRY_ASSIGN(const bool row, query.Step());
      if (!row) return OkStatus();
      nums.push_back(query.Int(0));
    }
  }));
  for (const int64_t num : nums) {
    TRY_ASSIGN(RecordPtr record, impl_->Acquire(num));
    if (record == nullptr) continue;
    record->used = true;
    return SnapshotRef(std::move(record));
  }
  return SnapshotRef();
}

Result<std::vector<SnapshotRef>> Store::FindByLabel(std::string_view name, std::string_view value) {
  std::vector<int64_t> nums;
  TRY(impl_->database->Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(
        SqliteStatement query,
        db.Prepare(
            "SELECT l.record FROM labels l JOIN records r ON r.num=l.record "
            "WHERE l.name=? AND l.value=? AND r.kind<>3 ORDER BY r.created DESC, r.num DESC"));
    query.Bind(name).Bind(value);
    while (true) {
      TRY_ASSIGN(const bool row, query.Step());
      if (!row) return OkStatus();
      nums.push_back(query.Int(0));
    }
  }));
  std::vector<SnapshotRef> refs;
  for (const int64_t num : nums) {
    TRY_ASSIGN(RecordPtr record, impl_->Acquire(num));
    if (record != nullptr) refs.push_back(SnapshotRef(std::move(record)));
  }
  return refs;
}

Status Store::Impl::SetLabel(int64_t num, std::string_view name, std::string_view value) {
  return database->Write([&](SqliteConnection& db) -> Status {
    if (value.empty()) {
      TRY_ASSIGN(SqliteStatement erase, db.Prepare("DELETE FROM labels WHERE record=? AND name=?"));
      return erase.Bind(num).Bind(name).Run();
    }
    TRY_ASSIGN(SqliteStatement set,
               db.Prepare("INSERT OR REPLACE INTO labels(record,name,value) VALUES(?,?,?)"));
    return set.Bind(num).Bind(name).Bind(value).Run();
  });
}

Result<std::string> Store::Impl::Label(int64_t num, std::string_view name) {
  std::string value;
  TRY(database->Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query,
               db.Prepare("SELECT value FROM labels WHERE record=? AND name=?"));
    TRY_ASSIGN(const bool row, query.Bind(num).Bind(name).Step());
    if (row) value = query.Text(0);
    return OkStatus();
  }));
  return value;
}

Status Store::SetLabel(const SnapshotRef& ref, std::string_view name, std::string_view value) {
  if (ref.is_scratch()) return FailedPrecondition("scratch carries no labels");
  return impl_->SetLabel(ref.state_->row.num, name, value);
}

Result<std::string> Store::Label(const SnapshotRef& ref, std::string_view name) {
  if (ref.is_scratch()) return std::string();
  return impl_->Label(ref.state_->row.num, name);
}

Result<RecordInfo> Store::Info(const SnapshotRef& ref) {
  if (ref.is_scratch()) return FailedPrecondition("scratch has no record");
  const RecordState& state = *ref.state_;
  RecordInfo info;
  info.id = state.row.id;
  info.type = state.row.type;
  info.description = state.row.description;
  info.created = state.row.created;
  info.local = state.local;
  info.chain_id = impl_->ChainIdOf(ref.state_);
  MutexLock guard(state.mutex);
  info.diff_id = state.diff_id;
  return info;
}

Result<bool> Store::IsLocal(const SnapshotRef& ref) {
  for (const RecordPtr& layer : VisibleChainOf(ref.state_)) {
    if (!layer->local) return false;
  }
  return true;
}

}  // namespace kiln::store
