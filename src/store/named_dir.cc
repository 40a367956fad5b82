// What a holder of a named directory does with it.
#include "base/log.h"
#include "store/named_dirs.h"

namespace kiln::store {

// Runs without any of the store's locks.
NamedState::~NamedState() {
  if (home == nullptr) return;
  // Left dirty by its holder: nobody can say what is in it.
  if (!recorded) {
    home->root().Trash(dirs.top);
  } else if (discard || (dirty && !keep_if_dirty)) {
    if (auto removed = home->records().Remove(num); !removed.ok())
      LOG_WARNING("removing directory {}: {}", id, removed.error());
  } else {
    home->root().database().WriteLater([num = num](SqliteConnection& db) -> Status {
      TRY_ASSIGN(SqliteStatement update, db.Prepare("UPDATE records SET size=NULL WHERE num=?"));
      return update.Bind(num).Run();
    });
    home->records().Used(num);
  }
  home->Release(num);
}

void NamedState::Condemn(bool condemned) {
  const MutexLock lock(home->mutex_);
  if (condemned) {
    home->condemned_.insert(num);
  } else {
    home->condemned_.erase(num);
  }
}

Result<std::shared_ptr<LayerTree>> NamedState::Tree() {
  const MutexLock lock(mutex);
  if (tree == nullptr) {
    TRY_ASSIGN(sys::RootedPath directory, sys::RootedPath::Open(dirs.fs));
    tree = std::make_shared<LayerTree>(std::move(directory));
  }
  return tree;
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
  TRY(state_->home->root().database().Write([num](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update, db.Prepare("UPDATE records SET dirty=1 WHERE num=?"));
    return update.Bind(num).Run();
  }));
  TRY(state_->home->root().MakeOpenDurable());
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
  const int64_t seq = state_->home->root().NextSeq();
  TRY(state_->home->root().database().Write([num, seq](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update, db.Prepare("UPDATE records SET dirty=0, seq=? WHERE num=?"));
    return update.Bind(seq).Bind(num).Run();
  }));
  state_->dirty = false;
  if (!state_->discard) state_->Condemn(false);
  state_->home->root().janitor().WantSync();
  return OkStatus();
}

Status NamedDir::SetLabel(const std::string& name, const std::string& value) {
  return state_->home->records().SetLabel(state_->num, name, value);
}

Result<std::string> NamedDir::Label(const std::string& name) const {
  return state_->home->records().Label(state_->num, name);
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

}  // namespace kiln::store
