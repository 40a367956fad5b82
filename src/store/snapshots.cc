#include "store/snapshots.h"

#include <sys/stat.h>
#include <unistd.h>

#include "store/copy.h"
#include "store/delta.h"

namespace kiln::store {

// A frozen local directory as a layer of its own, so that it may be built upon.
Result<SnapshotRef> Snapshots::Solidify(const progress::Activity& activity,
                                        const SnapshotRef& ref) {
  TRY_ASSIGN(const TreeView view, views_->ViewOf(VisibleChainOf(ref.record()), ref.record()));
  TRY_ASSIGN(ActiveSnapshot active, Prepare(activity, SnapshotRef()));
  TRY_ASSIGN(LayerWriter writer, active.Writer());
  CopyOptions copy;
  copy.allow_links = true;
  copy.keep_existing_root = false;
  TRY_ASSIGN(const TreeEntry source, view.Root());
  TRY(CopyTree(activity, view, source, writer, "/", copy));
  CommitOptions commit;
  commit.type = ref.record()->row.type;
  commit.description = ref.record()->row.description;
  return Commit(std::move(active), commit);
}

Result<ActiveSnapshot> Snapshots::Prepare(const progress::Activity& activity,
                                          const SnapshotRef& wanted) {
  SnapshotRef parent = wanted;
  TRY(layers_->EnsureLocal(activity, parent));
  for (const RecordPtr& layer : ChainOf(parent.record())) {
    if (layer->frozen == nullptr) continue;
    if (parent.record() != layer)
      return Unimplemented("a merge of a local directory cannot be written upon");
    TRY_ASSIGN(parent, SolidTwin(activity, parent));
    break;
  }
  auto state = std::make_shared<ActiveState>();
  state->root = root_;
  state->views = views_;
  state->num = root_->NextNum();
  state->dirs = root_->DirsOf(state->num);
  state->parent = parent;
  state->base = parent.record();
  const std::vector<RecordPtr> chain = VisibleChainOf(parent.record());
  if (views_->snapshotter().stacks()) {
    TRY_ASSIGN(state->lowers, views_->MountDirs(activity, parent.record()));
    state->links = views_->LinksBelow(chain);
  } else if (!chain.empty()) {
    state->lowers = {views_->LayerDir(chain.back())};
  }
  if (mkdir(state->dirs.top.c_str(), 0700) != 0)
    return ErrnoError(errno, "create {}", state->dirs.top);
  TRY(views_->snapshotter().Prepare(state->place(), state->lowers));
  return ActiveState::Wrap(std::move(state));
}

// Leaves nothing in the snapshot's directory but its delta, as it will stay.
Status Snapshots::CommitDelta(ActiveState& state) {
  TRY_ASSIGN(const TreeView lower, views_->ViewOf(VisibleChainOf(state.base), nullptr));
  if (state.whole != nullptr) {
    TRY(sys::RemoveTree(state.dirs.fs));
    TRY(MakeDelta(state.dirs.fs, state.lowers));
    TRY_ASSIGN(sys::RootedPath directory, sys::RootedPath::Open(state.dirs.fs));
    LayerWriter delta(TreeView(), std::move(directory), {root_->options().privileges, nullptr});
    TRY(state.whole->WriteChanges(progress::Activity(), lower, delta));
    root_->Trash(state.dirs.tree);
    return OkStatus();
  }
  TRY(NormalizeDelta(state.dirs.fs, lower, root_->options().privileges));
  TRY(sys::RemoveTree(state.dirs.work));
  if (state.links == nullptr || state.links->own.empty()) return OkStatus();
  std::string text;
  for (const uint64_t inode : state.links->own) text.append(std::to_string(inode)).append("\n");
  return WriteFileAtomically(state.dirs.links, text, 0600);
}

Result<SnapshotRef> Snapshots::Commit(ActiveSnapshot active, const CommitOptions& commit) {
  if (!active.valid()) return FailedPrecondition("commit of no snapshot");
  ActiveState& state = ActiveState::Of(active);
  const RecordPtr parent = state.parent.record();
  TRY_CTX(CommitDelta(state), "committing a snapshot");
  RecordRow row = records_->NewRow(RecordKind::kLayer, commit);
  row.num = state.num;
  row.local = true;
  row.standalone = state.standalone;
  TRY_ASSIGN(RecordPtr record, records_->Insert(std::move(row), parent, {}, commit, std::nullopt));
  state.committed = true;
  return SnapshotRef(std::move(record));
}

// A real layer with a frozen directory's content, made once per freeze.
Result<SnapshotRef> Snapshots::SolidTwin(const progress::Activity& activity,
                                         const SnapshotRef& ref) {
  TRY_ASSIGN(const KeyedGate::Ticket ticket, gate_.Enter(activity, ref.id()));
  {
    MutexLock guard(ref.record()->mutex);
    if (ref.record()->solid != nullptr) return SnapshotRef(ref.record()->solid);
  }
  TRY_ASSIGN(SnapshotRef solid, Solidify(activity, ref));
  MutexLock guard(ref.record()->mutex);
  ref.record()->solid = solid.record();
  return solid;
}

Result<SnapshotRef> Snapshots::Merge(std::span<const SnapshotRef> inputs,
                                     const CommitOptions& options) {
  std::vector<RecordPtr> parts;
  for (const SnapshotRef& input : inputs) {
    if (input.is_scratch()) continue;
    if (input.record()->row.kind == RecordKind::kMerge) {
      parts.insert(parts.end(), input.record()->inputs.begin(), input.record()->inputs.end());
    } else {
      parts.push_back(input.record());
    }
  }
  for (RecordPtr& part : parts) {
    if (part->frozen == nullptr) continue;
    TRY_ASSIGN(const SnapshotRef solid, SolidTwin(progress::Activity(), SnapshotRef(part)));
    part = solid.record();
  }
  if (parts.empty()) return SnapshotRef();
  if (parts.size() == 1) return SnapshotRef(parts[0]);
  TRY_ASSIGN(RecordPtr record, records_->Insert(records_->NewRow(RecordKind::kMerge, options),
                                                nullptr, std::move(parts), options, uint64_t{0}));
  return SnapshotRef(std::move(record));
}

}  // namespace kiln::store
