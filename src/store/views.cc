#include "store/views.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "store/copy.h"
#include "store/delta.h"
#include "store/named_state.h"

namespace kiln::store {

Views::Views(Root* root, IndexCache* indexes) : root_(root), indexes_(indexes) {
  const StoreOptions& options = root->options();
  OverlayOptions overlay;
  overlay.userxattr = options.privileges.userxattr;
  overlay.max_layers = options.max_mount_layers;
  snapshotter_ =
      options.snapshotter == "native" ? MakeNativeSnapshotter() : MakeOverlaySnapshotter(overlay);
}

std::string Views::LayerDir(const RecordPtr& record) const {
  return record->frozen != nullptr ? record->frozen->dirs.fs : root_->DirsOf(record->row.num).fs;
}

Result<std::shared_ptr<LayerTree>> Views::TreeOf(const RecordPtr& record) {
  if (record->frozen == nullptr)
    return indexes_->Get(record->row.num, root_->DirsOf(record->row.num));
  return record->frozen->Tree();
}

Result<TreeView> Views::ViewOf(const std::vector<RecordPtr>& chain,
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

std::shared_ptr<LinkedInodes> Views::LinksBelow(const std::vector<RecordPtr>& chain) const {
  auto links = std::make_shared<LinkedInodes>();
  for (const RecordPtr& record : chain) {
    if (record->frozen != nullptr) continue;
    std::string path = root_->DirsOf(record->row.num).links;
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
Result<bool> Views::IsDangling(const RecordPtr& part) {
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

Result<std::vector<std::string>> Views::MountDirs(const progress::Activity& activity,
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
  const size_t limit = snapshotter_->max_layers();
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
Result<std::string> Views::Flatten(const progress::Activity& activity,
                                   const std::vector<RecordPtr>& part, const RecordPtr& owner) {
  const SnapshotDirs dirs = root_->DirsOf(owner->row.num);
  std::string nums;
  for (const RecordPtr& record : part) nums.append(std::to_string(record->row.num)).append("\n");
  std::string flat = dirs.top + "/flat-" + Sha256Of(nums).hex().substr(0, 16);
  TRY_ASSIGN(const KeyedGate::Ticket ticket, gate_.Enter(activity, flat));
  if (access(flat.c_str(), F_OK) == 0) return flat;
  TRY_ASSIGN(const TreeView view, ViewOf(part, nullptr));
  const std::string temporary = root_->NewIngest("flat");
  if (mkdir(temporary.c_str(), 0755) != 0) return ErrnoError(errno, "create {}", temporary);
  TRY_ASSIGN(sys::RootedPath directory, sys::RootedPath::Open(temporary));
  LayerWriter writer(TreeView(), std::move(directory),
                     {root_->options().privileges,
                      snapshotter_->stacks() ? std::make_shared<LinkedInodes>() : nullptr});
  CopyOptions copy;
  copy.allow_links = true;
  copy.keep_existing_root = false;
  TRY_ASSIGN(const TreeEntry source, view.Root());
  auto copied = CopyTree(activity, view, source, writer, "/", copy);
  if (!copied.ok()) {
    root_->Trash(temporary);
    return std::move(copied.error().AddContext("flattening layers"));
  }
  (void)mkdir(dirs.top.c_str(), 0700);  // a merge has none of its own
  if (rename(temporary.c_str(), flat.c_str()) != 0) return ErrnoError(errno, "publishing {}", flat);
  const int64_t num = owner->row.num;
  root_->database().WriteLater([num](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement update, db.Prepare("UPDATE records SET size=NULL WHERE num=?"));
    return update.Bind(num).Run();
  });
  return flat;
}

Result<std::vector<std::string>> Views::LocalDirs(const RecordPtr& top) {
  if (!IsLocal(top)) return FailedPrecondition("snapshot {} is not local", top->row.id);
  return MountDirs(progress::Activity(), top);
}

bool Views::IsLocal(const RecordPtr& top) {
  for (const RecordPtr& layer : VisibleChainOf(top)) {
    if (!layer->local) return false;
  }
  return true;
}

Result<sys::MountDescription> Views::MountOf(const RecordPtr& top) {
  if (top == nullptr) {
    const std::string empty = root_->path() + "/empty";
    if (mkdir(empty.c_str(), 0755) != 0 && errno != EEXIST)
      return ErrnoError(errno, "create {}", empty);
    return snapshotter_->MountView(std::vector<std::string>{empty});
  }
  TRY_ASSIGN(const std::vector<std::string> dirs, LocalDirs(top));
  return snapshotter_->MountView(dirs);
}

}  // namespace kiln::store
