// Active and committed snapshots.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/ids.h"
#include "base/log.h"
#include "base/strings.h"
#include "store/active_mount.h"
#include "store/copy.h"
#include "store/delta.h"
#include "store/store_impl.h"

namespace kiln::store {

ActiveState::~ActiveState() {
  if (!committed) store->Trash(dirs.top);
}

std::string Store::Impl::LayerDir(const RecordPtr& record) const {
  return record->frozen != nullptr ? record->frozen->dirs.fs : DirsOf(record->row.num).fs;
}

Result<std::shared_ptr<LayerTree>> Store::Impl::TreeOf(const RecordPtr& record) {
  if (record->frozen == nullptr) return indexes->Get(record->row.num, DirsOf(record->row.num));
  NamedState& named = *record->frozen;
  MutexLock guard(named.mutex);
  if (named.tree == nullptr) {
    TRY_ASSIGN(sys::RootedPath directory, sys::RootedPath::Open(named.dirs.fs));
    named.tree = std::make_shared<LayerTree>(std::move(directory));
  }
  return named.tree;
}

Result<TreeView> Store::Impl::ViewOf(const std::vector<RecordPtr>& chain,
                                     std::shared_ptr<const void> hold) {
  std::vector<std::shared_ptr<const LayerTree>> trees;
  for (const RecordPtr& record : chain) {
    if (!record->local)
      return FailedPrecondition("layer {} of the snapshot is not local", record->row.id);
    TRY_ASSIGN(std::shared_ptr<LayerTree> tree, TreeOf(record));
    trees.push_back(std::move(tree));
  }
  TreeView view(std::move(trees), std::move(hold));
  view.set_received(chain.size() == 1 && chain[0]->received);
  return view;
}

std::shared_ptr<LinkedInodes> Store::Impl::LinksBelow(const std::vector<RecordPtr>& chain) const {
  auto links = std::make_shared<LinkedInodes>();
  for (const RecordPtr& record : chain) {
    if (record->frozen != nullptr) continue;
    std::string path = DirsOf(record->row.num).links;
    if (access(path.c_str(), F_OK) == 0) links->below_files.push_back(std::move(path));
  }
  return links;
}

// The topmost record of a chain whose layers were put on others than they were made on; null if
// there is none. Layers above it were made on what it shows.
static RecordPtr RecombinedPart(const RecordPtr& top) {
  for (RecordPtr at = top; at != nullptr; at = at->parent) {
    if (at->row.kind == RecordKind::kMerge || at->row.kind == RecordKind::kReused ||
        at->row.standalone) {
      return at;
    }
  }
  return nullptr;
}

// Whether mounting it as it is would list names that are deleted. Looked at once per hold.
Result<bool> Store::Impl::IsDangling(const RecordPtr& part) {
  {
    MutexLock guard(part->mutex);
    if (part->dangling) return *part->dangling;
  }
  TRY_ASSIGN(const TreeView view, ViewOf(VisibleChainOf(part), nullptr));
  TRY_ASSIGN(const bool dangling, HasDanglingWhiteout(view));
  MutexLock guard(part->mutex);
  part->dangling = dangling;
  return dangling;
}

Result<std::vector<std::string>> Store::Impl::MountDirs(const progress::Activity& activity,
                                                        const RecordPtr& top) {
  const std::vector<RecordPtr> chain = VisibleChainOf(top);
  size_t begin = 0;  // what lies below must be shown as one directory
  RecordPtr owner;
  if (const RecordPtr part = RecombinedPart(top); part != nullptr) {
    TRY_ASSIGN(const bool dangling, IsDangling(part));
    if (dangling) {
      begin = VisibleChainOf(part).size();
      owner = part;
    }
  }
  const size_t limit = snapshotter->max_layers();
  if (chain.size() - begin + (begin > 0 ? 1 : 0) > limit) {
    // Always cut at the same places, so that a growing chain finds what was flattened before.
    const size_t step = std::max<size_t>(1, limit * 4 / 5);
    const size_t cut = limit > 1 ? (chain.size() - 1) / step * step : chain.size();
    if (cut > begin) {
      begin = cut;
      owner = chain[begin - 1];
    }
  }
  std::vector<std::string> dirs;
  if (begin > 0) {
    const std::vector<RecordPtr> lower(chain.begin(),
                                       chain.begin() + static_cast<ptrdiff_t>(begin));
    TRY_ASSIGN(std::string flat, Flatten(activity, lower, owner));
    dirs.push_back(std::move(flat));
  }
  for (size_t i = begin; i < chain.size(); ++i) dirs.push_back(LayerDir(chain[i]));
  return dirs;
}

// One directory that shows what `part` shows, kept beside the snapshot `owner`. Where mounts stack,
// files are shared by hard links: nothing below a mount is ever written.
Result<std::string> Store::Impl::Flatten(const progress::Activity& activity,
                                         const std::vector<RecordPtr>& part,
                                         const RecordPtr& owner) {
  const SnapshotDirs dirs = DirsOf(owner->row.num);
  std::string nums;
  for (const RecordPtr& record : part) nums.append(std::to_string(record->row.num)).append("\n");
  std::string flat = dirs.top + "/flat-" + Sha256Of(nums).hex().substr(0, 16);
  TRY_ASSIGN(const KeyedGate::Ticket ticket, gate.Enter(activity, flat));
  if (access(flat.c_str(), F_OK) == 0) return flat;
  TRY_ASSIGN(const TreeView view, ViewOf(part, nullptr));
  const std::string temporary = root + "/ingest/flat-" + NewId();
  if (mkdir(temporary.c_str(), 0755) != 0) return ErrnoError(errno, "create {}", temporary);
  TRY_ASSIGN(sys::RootedPath directory, sys::RootedPath::Open(temporary));
  LayerWriter writer(
      TreeView(), std::move(directory),
      {options.rootless, snapshotter->stacks() ? std::make_shared<LinkedInodes>() : nullptr});
  CopyOptions copy;
  copy.allow_links = true;
  copy.keep_existing_root = false;
  TRY_ASSIGN(const TreeEntry source, view.Root());
  auto copied = CopyTree(activity, view, source, writer, "/", copy);
  if (!copied.ok()) {
    Trash(temporary);
    return std::move(copied.error().AddContext("flattening layers"));
  }
  (void)mkdir(dirs.top.c_str(), 0700);  // a merge has none of its own
  if (rename(temporary.c_str(), flat.c_str()) != 0) return ErrnoError(errno, "publishing {}", flat);
  const int64_t num = owner->row.num;
  database->WriteLater([num](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update, db.Prepare("UPDATE records SET size=NULL WHERE num=?"));
    return update.Bind(num).Run();
  });
  return flat;
}

// A frozen local directory as a layer of its own, so that it may be built upon.
Result<SnapshotRef> Store::Impl::Solidify(const progress::Activity& activity,
                                          const SnapshotRef& ref) {
  TRY_ASSIGN(const TreeView view, ViewOf(VisibleChainOf(ref.state_), ref.state_));
  TRY_ASSIGN(ActiveSnapshot active, Prepare(activity, SnapshotRef()));
  TRY_ASSIGN(LayerWriter writer, active.Writer());
  CopyOptions copy;
  copy.allow_links = true;
  copy.keep_existing_root = false;
  TRY_ASSIGN(const TreeEntry source, view.Root());
  TRY(CopyTree(activity, view, source, writer, "/", copy));
  CommitOptions commit;
  commit.type = ref.state_->row.type;
  commit.description = ref.state_->row.description;
  return Commit(std::move(active), commit);
}

Result<ActiveSnapshot> Store::Impl::Prepare(const progress::Activity& activity,
                                            const SnapshotRef& wanted) {
  SnapshotRef parent = wanted;
  TRY(EnsureLocal(activity, parent));
  for (const RecordPtr& layer : ChainOf(parent.state_)) {
    if (layer->frozen == nullptr) continue;
    if (parent.state_ != layer)
      return Unimplemented("a merge of a local directory cannot be written upon");
    TRY_ASSIGN(parent, SolidTwin(activity, parent));
    break;
  }
  auto state = std::make_shared<ActiveState>();
  state->store = this;
  state->num = next_num.fetch_add(1);
  state->dirs = DirsOf(state->num);
  state->parent = parent;
  state->base = parent.state_;
  const std::vector<RecordPtr> chain = VisibleChainOf(parent.state_);
  if (snapshotter->stacks()) {
    TRY_ASSIGN(state->lowers, MountDirs(activity, parent.state_));
    state->links = LinksBelow(chain);
  } else if (!chain.empty()) {
    state->lowers = {LayerDir(chain.back())};
  }
  if (mkdir(state->dirs.top.c_str(), 0700) != 0)
    return ErrnoError(errno, "create {}", state->dirs.top);
  TRY(snapshotter->Prepare(state->place(), state->lowers));
  return ActiveSnapshot(std::move(state));
}

// Leaves nothing in the snapshot's directory but its delta, as it will stay.
Status Store::Impl::CommitDelta(ActiveState& state) {
  TRY_ASSIGN(const TreeView lower, ViewOf(VisibleChainOf(state.base), nullptr));
  if (state.whole != nullptr) {
    TRY(sys::RemoveTree(state.dirs.fs));
    TRY(MakeDelta(state.dirs.fs, state.lowers));
    TRY_ASSIGN(sys::RootedPath directory, sys::RootedPath::Open(state.dirs.fs));
    LayerWriter delta(TreeView(), std::move(directory), {options.rootless, nullptr});
    TRY(state.whole->WriteChanges(progress::Activity(), lower, delta));
    Trash(state.dirs.tree);
    return OkStatus();
  }
  TRY(NormalizeDelta(state.dirs.fs, lower, options.rootless));
  TRY(sys::RemoveTree(state.dirs.work));
  if (state.links == nullptr || state.links->own.empty()) return OkStatus();
  std::string text;
  for (const uint64_t inode : state.links->own) text.append(std::to_string(inode)).append("\n");
  return WriteFileAtomically(state.dirs.links, text, 0600);
}

Result<SnapshotRef> Store::Impl::Commit(ActiveSnapshot active, const CommitOptions& commit) {
  if (!active.valid()) return FailedPrecondition("commit of no snapshot");
  ActiveState& state = *active.state_;
  const RecordPtr parent = state.parent.state_;
  TRY_CTX(CommitDelta(state), "committing a snapshot");
  RecordRow row = NewRow(RecordKind::kLayer, commit);
  row.num = state.num;
  row.local = true;
  row.standalone = state.standalone;
  TRY_ASSIGN(RecordPtr record, Insert(std::move(row), parent, {}, commit, std::nullopt));
  state.committed = true;
  return SnapshotRef(std::move(record));
}

Result<ActiveSnapshot> Store::Prepare(const progress::Activity& activity,
                                      const SnapshotRef& parent) {
  return impl_->Prepare(activity, parent);
}

Result<SnapshotRef> Store::Commit(ActiveSnapshot active, const CommitOptions& options) {
  return impl_->Commit(std::move(active), options);
}

const SnapshotRef& ActiveSnapshot::parent() const { return state_->parent; }
const std::string& ActiveSnapshot::upper_dir() const { return state_->dirs.fs; }

Result<TreeView> ActiveState::DeltaView(std::shared_ptr<const void> hold) const {
  std::vector<std::shared_ptr<const LayerTree>> trees;
  for (const RecordPtr& record : VisibleChainOf(base)) {
    TRY_ASSIGN(std::shared_ptr<LayerTree> tree, store->TreeOf(record));
    trees.push_back(std::move(tree));
  }
  TRY_ASSIGN(sys::RootedPath delta, sys::RootedPath::Open(dirs.fs));
  trees.push_back(std::make_shared<LayerTree>(std::move(delta)));
  return TreeView(std::move(trees), std::move(hold));
}

Status ActiveState::MakeWhole(const progress::Activity& activity) {
  if (store->snapshotter->stacks() || whole != nullptr) return OkStatus();
  TRY_ASSIGN(const TreeView view, DeltaView(nullptr));
  auto made = WholeTree::Make(activity, view, dirs.tree);
  if (!made.ok()) {
    store->Trash(dirs.tree);
    return std::move(made).error();
  }
  whole = std::move(*made);
  return OkStatus();
}

Result<sys::MountDescription> MountActive(const progress::Activity& activity,
                                          const ActiveSnapshot& active, bool is_volatile) {
  TRY(ActiveState::Of(active).MakeWhole(activity));
  return active.Mount(is_volatile);
}

sys::MountDescription ActiveSnapshot::Mount(bool is_volatile) const {
  // What could not be made is not there to be mounted.
  if (const Status made = state_->MakeWhole(progress::Activity()); !made.ok())
    LOG_WARNING("{}", made.error());
  return state_->store->snapshotter->MountActive(state_->place(), state_->lowers, is_volatile);
}

Result<LayerWriter> ActiveSnapshot::Writer() const {
  if (state_->whole != nullptr) return state_->whole->Writer();
  const RecordPtr parent = state_->parent.state_;
  TRY_ASSIGN(TreeView lower, state_->store->ViewOf(VisibleChainOf(parent), parent));
  TRY_ASSIGN(sys::RootedPath upper, sys::RootedPath::Open(state_->dirs.fs));
  return LayerWriter(std::move(lower), std::move(upper),
                     {state_->store->options.rootless, state_->links});
}

Result<TreeView> ActiveSnapshot::Tree() const {
  if (state_->whole != nullptr) return state_->whole->Tree();
  return state_->DeltaView(state_);
}

Result<sys::MountDescription> Store::ViewMount(const SnapshotRef& ref) {
  if (ref.is_scratch()) {
    const std::string empty = impl_->root + "/empty";
    if (mkdir(empty.c_str(), 0755) != 0 && errno != EEXIST)
      return ErrnoError(errno, "create {}", empty);
    return impl_->snapshotter->MountView(std::vector<std::string>{empty});
  }
  TRY_ASSIGN(const std::vector<std::string> dirs, LayerDirs(ref));
  return impl_->snapshotter->MountView(dirs);
}

Result<TreeView> Store::Tree(const SnapshotRef& ref) {
  return impl_->ViewOf(VisibleChainOf(ref.state_), ref.state_);
}

Result<std::vector<std::string>> Store::LayerDirs(const SnapshotRef& ref) {
  TRY_ASSIGN(const bool local, IsLocal(ref));
  if (!local) return FailedPrecondition("snapshot {} is not local", ref.id());
  return impl_->MountDirs(progress::Activity(), ref.state_);
}

Result<SnapshotRef> Store::Merge(std::span<const SnapshotRef> inputs,
                                 const CommitOptions& options) {
  std::vector<RecordPtr> parts;
  for (const SnapshotRef& input : inputs) {
    if (input.is_scratch()) continue;
    if (input.state_->row.kind == RecordKind::kMerge) {
      parts.insert(parts.end(), input.state_->inputs.begin(), input.state_->inputs.end());
    } else {
      parts.push_back(input.state_);
    }
  }
  for (RecordPtr& part : parts) {
    if (part->frozen == nullptr) continue;
    TRY_ASSIGN(const SnapshotRef solid, impl_->SolidTwin(progress::Activity(), SnapshotRef(part)));
    part = solid.state_;
  }
  if (parts.empty()) return SnapshotRef();
  if (parts.size() == 1) return SnapshotRef(parts[0]);
  TRY_ASSIGN(RecordPtr record, impl_->Insert(impl_->NewRow(RecordKind::kMerge, options), nullptr,
                                             std::move(parts), options, uint64_t{0}));
  return SnapshotRef(std::move(record));
}

}  // namespace kiln::store
