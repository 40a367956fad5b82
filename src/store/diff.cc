// The difference of two snapshots as a snapshot.
#include <sys/stat.h>

#include "store/copy.h"
#include "store/layer_tar.h"
#include "store/layer_writer_internal.h"
#include "store/store_impl.h"

namespace kiln::store {
namespace {

// Writes what `upper` changes over `lower` as a delta that stands by itself: every deletion is a
// whiteout.
class DifferenceWriter {
 public:
  DifferenceWriter(const progress::Activity& activity, const TreeView& lower, const TreeView& upper,
                   LayerWriter& writer)
      : activity_(activity), lower_(lower), upper_(upper), writer_(writer) {}

  Status Run() {
    TRY_ASSIGN(const TreeEntry below, lower_.Root());
    TRY_ASSIGN(const TreeEntry above, upper_.Root());
    TRY_ASSIGN(WriterDir root, writer_.OpenDir("/"));
    TRY(Compare(below, above, root));
    return Dress(above, root);
  }

 private:
  Status Compare(const TreeEntry& below, const TreeEntry& above, WriterDir& dir) {
    TRY(activity_.Check());
    TRY_ASSIGN(const std::vector<TreeEntry> old, lower_.Children(below));
    TRY_ASSIGN(const std::vector<TreeEntry> now, upper_.Children(above));
    auto a = old.begin();
    auto b = now.begin();
    while (a != old.end() || b != now.end()) {
      if (b == now.end() || (a != old.end() && a->node->name < b->node->name)) {
        TRY(writer_.PutNode(dir, a->node->name, S_IFCHR, 0, NodeMeta()));
        ++a;
      } else if (a == old.end() || b->node->name < a->node->name) {
        TRY(Copy(*b));
        ++b;
      } else {
        TRY(Both(*a, *b, dir));
        ++a;
        ++b;
      }
    }
    return OkStatus();
  }

  Status Both(const TreeEntry& below, const TreeEntry& above, WriterDir& dir) {
    TRY_ASSIGN(const bool same, SameEntry(lower_, below, upper_, above));
    const bool directories = below.node->IsDirectory() && above.node->IsDirectory();
    if (!directories) return same ? OkStatus() : Copy(above);
    bool created = false;
    NodeMeta meta;
    meta.mode = 0700;
    TRY_ASSIGN(WriterDir child, writer_.EnterDir(dir, above.node->name, meta, &created));
    TRY(Compare(below, above, child));
    TRY_ASSIGN(const std::vector<sys::DirEntry> raw, sys::ReadDir(child.upper.get()));
    // Nothing below it changed, nor itself: it need not be there.
    if (same && raw.empty()) return writer_.RemoveIn(dir, above.node->name);
    return Dress(above, child);
  }

  Status Copy(const TreeEntry& above) {
    TRY(CopyTree(activity_, upper_, above, writer_, above.path, CopyOptions()));
    return OkStatus();
  }

  Status Dress(const TreeEntry& above, WriterDir& dir) {
    sys::FileInfo info;
    info.mode = above.node->mode;
    info.uid = above.node->uid;
    info.gid = above.node->gid;
    info.mtime = info.atime = FromUnixNanos(above.node->mtime_ns);
    TRY_ASSIGN(sys::Xattrs xattrs, upper_.Xattrs(above));
    return writer_.FinishDir(dir, MetaOf(info, std::move(xattrs)));
  }

  const progress::Activity& activity_;
  const TreeView& lower_;
  const TreeView& upper_;
  LayerWriter& writer_;
};

}  // namespace

Result<SnapshotRef> Store::Diff(const progress::Activity& activity, const SnapshotRef& lower,
                                const SnapshotRef& upper, const CommitOptions& options) {
  if (lower.is_scratch()) return upper;
  if (lower == upper) return SnapshotRef();
  const std::vector<RecordPtr> old = ChainOf(lower.state_);
  const std::vector<RecordPtr> now = ChainOf(upper.state_);
  const bool prefix = now.size() > old.size() && std::equal(old.begin(), old.end(), now.begin());
  if (prefix && lower.state_->frozen == nullptr) {
    std::vector<SnapshotRef> parts;
    for (size_t i = old.size(); i < now.size(); ++i) {
      std::vector<RecordPtr> inputs{i == 0 ? lower.state_ : now[i - 1], now[i]};
      TRY_ASSIGN(RecordPtr part, impl_->Insert(impl_->NewRow(RecordKind::kReused, options), nullptr,
                                               std::move(inputs), options, uint64_t{0}));
      parts.push_back(SnapshotRef(std::move(part)));
    }
    return Merge(parts, options);
  }
  TRY(EnsureLocal(activity, lower));
  TRY(EnsureLocal(activity, upper));
  TRY_ASSIGN(const TreeView before, Tree(lower));
  TRY_ASSIGN(const TreeView after, Tree(upper));
  TRY_ASSIGN(ActiveSnapshot active, Prepare(activity, SnapshotRef()));
  active.state_->standalone = true;
  TRY_ASSIGN(LayerWriter writer, active.Writer());
  TRY_CTX(DifferenceWriter(activity, before, after, writer).Run(),
          "computing the difference of two snapshots");
  return Commit(std::move(active), options);
}

}  // namespace kiln::store
