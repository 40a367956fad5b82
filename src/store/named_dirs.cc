// Named mutable directories.
#include <sys/stat.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/log.h"
#include "store/copy.h"
#include "store/store_impl.h"

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

}  // namespace

// Runs without the store's locks, or with named_mutex alone.
NamedState::~NamedState() {
  // Left dirty by its holder: nobody can say what is in it.
  if (discard || (dirty && !keep_if_dirty)) {
    if (auto removed = store->Remove(num); !removed.ok())
      LOG_WARNING("removing directory {}: {}", id, removed.error());
  } else {
    const int64_t the_num = num;
    store->database->WriteLater([the_num](SqliteConnection& db) -> Status {
      TRY_ASSIGN(SqliteStatement update, db.Prepare("UPDATE records SET size=NULL WHERE num=?"));
      return update.Bind(the_num).Run();
    });
    store->Used(num);
  }
  MutexLock guard(store->mutex);
  store->condemned.erase(num);
  const auto found = store->live_named.find(num);
  if (found != store->live_named.end() && found->second.expired()) store->live_named.erase(found);
  ++store->named_releases;
  store->named_changed.NotifyAll();
}

void NamedState::Condemn(bool condemned) {
  MutexLock guard(store->mutex);
  if (condemned) {
    store->condemned.insert(num);
  } else {
    store->condemned.erase(num);
  }
}

// With named_mutex held. Null: every directory of that name is in use in a way that excludes us.
Result<std::shared_ptr<NamedState>> Store::Impl::TakeNamed(const NamedDirOptions& wanted,
                                                           bool* busy) {
  *busy = false;
  TRY_ASSIGN(const std::vector<NamedRow> rows, RowsOf(*database, wanted.key));
  for (const NamedRow& row : rows) {
    std::shared_ptr<NamedState> state;  // outlives the guard: its destructor takes that lock
    MutexLock guard(mutex);
    if (doomed.contains(row.num)) continue;
    auto& slot = live_named[row.num];
    state = slot.lock();
    if (state != nullptr) {
      const bool joins = wanted.sharing == Sharing::kShared && state->sharing == Sharing::kShared;
      if (joins && !condemned.contains(row.num)) return state;
      *busy = *busy || !state->discard;
      continue;
    }
    if (condemned.contains(row.num) || (row.dirty && !wanted.keep_if_dirty)) continue;
    state = std::make_shared<NamedState>();
    state->store = this;
    state->num = row.num;
    state->id = row.id;
    state->dirs = DirsOf(row.num);
    state->sharing = wanted.sharing;
    state->keep_if_dirty = wanted.keep_if_dirty;
    state->description = wanted.description;
    slot = state;
    return state;
  }
  return std::shared_ptr<NamedState>();
}

Result<std::shared_ptr<NamedState>> Store::Impl::NewNamed(const progress::Activity& activity,
                                                          const NamedDirOptions& wanted) {
  CommitOptions commit;
  commit.type = wanted.type;
  commit.description = wanted.description;
  RecordRow row = NewRow(RecordKind::kNamed, commit);
  row.num = next_num.fetch_add(1);
  row.local = true;
  auto state = std::make_shared<NamedState>();
  state->store = this;
  state->num = row.num;
  state->id = row.id;
  state->dirs = DirsOf(row.num);
  state->sharing = wanted.sharing;
  state->keep_if_dirty = wanted.keep_if_dirty;
  state->description = wanted.description;
  state->is_new = wanted.initial.is_scratch();
  state->discard = true;  // until it is whole
  {
    MutexLock guard(mutex);
    live_named[row.num] = state;
  }
  if (mkdir(state->dirs.top.c_str(), 0700) != 0 || mkdir(state->dirs.fs.c_str(), 0755) != 0) {
    return ErrnoError(errno, "create {}", state->dirs.fs);
  }
  if (chmod(state->dirs.fs.c_str(), 0755) != 0)
    return ErrnoError(errno, "chmod {}", state->dirs.fs);
  if (!wanted.initial.is_scratch()) {
    TRY(EnsureLocal(activity, wanted.initial));
    TRY_ASSIGN(const TreeView view,
               ViewOf(VisibleChainOf(wanted.initial.state_), wanted.initial.state_));
    TRY_ASSIGN(sys::RootedPath directory, sys::RootedPath::Open(state->dirs.fs));
    LayerWriter writer(TreeView(), std::move(directory), {options.rootless, nullptr});
    CopyOptions copy;
    copy.keep_existing_root = false;
    TRY_ASSIGN(const TreeEntry source, view.Root());
    TRY(CopyTree(activity, view, source, writer, "/", copy));
  }
  TRY(InsertNamed(row, wanted.key));
  state->discard = false;
  return state;
}

// Directories of that name are not found any more; idle ones go now, used ones with their last
// user.
Status Store::Impl::RetireNamed(const std::string& key) {
  TRY_ASSIGN(const std::vector<NamedRow> rows, RowsOf(*database, key));
  for (const NamedRow& row : rows) {
    std::shared_ptr<NamedState> state;
    {
      MutexLock guard(mutex);
      const auto found = live_named.find(row.num);
      if (found != live_named.end()) state = found->second.lock();
      if (state != nullptr) condemned.insert(row.num);
    }
    if (state != nullptr) {
      state->discard = true;
    } else {
      TRY(Remove(row.num));
    }
  }
  return OkStatus();
}

Result<NamedDir> Store::OpenNamedDir(const progress::Activity& activity,
                                     const NamedDirOptions& options) {
  if (options.key.empty()) return InvalidArgument("a named directory needs a key");
  const auto wake = activity.cancel.OnCancel([this] {
    MutexLock guard(impl_->mutex);
    impl_->named_changed.NotifyAll();
  });
  bool retire = options.renew;
  while (true) {
    TRY(activity.Check());
    uint64_t releases = 0;
    {
      MutexLock guard(impl_->mutex);
      releases = impl_->named_releases;
    }
    bool busy = false;
    {
      // Held while one is made, so that two callers do not make two.
      MutexLock opening(impl_->named_mutex);
      if (std::exchange(retire, false)) {
        TRY(impl_->RetireNamed(options.key));
      }
      TRY_ASSIGN(std::shared_ptr<NamedState> state, impl_->TakeNamed(options, &busy));
      if (state == nullptr && !(options.sharing == Sharing::kLocked && busy)) {
        TRY_ASSIGN(state, impl_->NewNamed(activity, options));
      }
      if (state != nullptr) return NamedDir(std::move(state));
    }
    MutexLock lock(impl_->mutex);
    while (impl_->named_releases == releases && activity.Check().ok()) {
      if (activity.deadline) {
        impl_->named_changed.WaitUntil(lock, *activity.deadline);
      } else {
        impl_->named_changed.Wait(lock);
      }
    }
  }
}

const std::string& NamedDir::id() const { return state_->id; }
bool NamedDir::is_new() const { return state_->is_new; }
const std::string& NamedDir::path() const { return state_->dirs.fs; }

void NamedDir::Discard() {
  state_->Condemn(true);
  state_->discard = true;
}

sys::MountDescription NamedDir::Mount(bool readonly) const {
  sys::MountFlags flags;
  flags.readonly = readonly;
  return {sys::BindMount{.source = state_->dirs.fs}, flags};
}

Status NamedDir::MarkDirty() {
  if (state_->keep_if_dirty || state_->dirty) return OkStatus();
  const int64_t num = state_->num;
  TRY(state_->store->database->Write([num](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update, db.Prepare("UPDATE records SET dirty=1 WHERE num=?"));
    return update.Bind(num).Run();
  }));
  TRY(state_->store->MakeOpenDurable());
  state_->Condemn(true);
  state_->dirty = true;
  return OkStatus();
}

Status NamedDir::MarkClean() {
  {
    MutexLock guard(state_->mutex);
    if (state_->tree != nullptr) {
      TRY(state_->tree->Save(state_->dirs.index));
    }
  }
  if (!state_->dirty) return OkStatus();
  const int64_t num = state_->num;
  const int64_t seq = state_->store->NextSeq();
  TRY(state_->store->database->Write([num, seq](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update, db.Prepare("UPDATE records SET dirty=0, seq=? WHERE num=?"));
    return update.Bind(seq).Bind(num).Run();
  }));
  state_->dirty = false;
  if (!state_->discard) state_->Condemn(false);
  state_->store->janitor->WantSync();
  return OkStatus();
}

Status NamedDir::SetLabel(const std::string& name, const std::string& value) {
  return state_->store->SetLabel(state_->num, name, value);
}

Result<std::string> NamedDir::Label(const std::string& name) const {
  return state_->store->Label(state_->num, name);
}

Result<std::shared_ptr<LayerTree>> NamedDir::Index() {
  MutexLock guard(state_->mutex);
  if (state_->tree != nullptr) return state_->tree;
  TRY_ASSIGN(sys::RootedPath directory, sys::RootedPath::Open(state_->dirs.fs));
  if (!state_->is_new) {
    auto saved = LayerTree::Load(directory, state_->dirs.index);
    if (saved.ok()) {
      state_->tree = std::move(*saved);
      return state_->tree;
    }
  }
  state_->tree = std::make_shared<LayerTree>(std::move(directory));
  if (state_->is_new) state_->tree->SetComplete();
  return state_->tree;
}

Result<SnapshotRef> Store::Freeze(NamedDir dir, bool received) {
  if (!dir.valid()) return FailedPrecondition("freezing no directory");
  if (dir.state_->sharing == Sharing::kShared)
    return FailedPrecondition("a shared directory cannot be frozen");
  RecordRow row;
  row.num = dir.state_->num;
  row.id = dir.state_->id;
  row.kind = RecordKind::kNamed;
  row.local = true;
  row.type = std::string(kTypeLocalSource);
  row.description = dir.state_->description;
  row.created = impl_->clock->Now();
  auto state = std::make_shared<RecordState>(std::move(row));
  state->frozen = dir.state_;
  state->received = received;
  return SnapshotRef(std::move(state));
}

Result<SnapshotRef> Store::Solid(const progress::Activity& activity, const SnapshotRef& ref) {
  return ref.is_ephemeral() ? impl_->SolidTwin(activity, ref) : ref;
}

// A real layer with a frozen directory's content, made once per freeze.
Result<SnapshotRef> Store::Impl::SolidTwin(const progress::Activity& activity,
                                           const SnapshotRef& ref) {
  TRY_ASSIGN(const KeyedGate::Ticket ticket, gate.Enter(activity, "solid:" + ref.id()));
  {
    MutexLock guard(ref.state_->mutex);
    if (ref.state_->solid != nullptr) return SnapshotRef(ref.state_->solid);
  }
  TRY_ASSIGN(SnapshotRef solid, Solidify(activity, ref));
  MutexLock guard(ref.state_->mutex);
  ref.state_->solid = solid.state_;
  return solid;
}

}  // namespace kiln::store
