#include "store/difference.h"

#include <sys/stat.h>

#include "store/copy.h"
#include "store/layer_tar.h"
#include "store/layer_writer_internal.h"

namespace kiln::store {
namespace {

class DifferenceWriter {
 public:
  DifferenceWriter(const progress::Activity& activity, const TreeView& lower, const TreeView& upper,
                   LayerWriter& writer, const DifferenceRules& rules)
      : activity_(activity), lower_(lower), upper_(upper), writer_(writer), rules_(rules) {}

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
    TRY_ASSIGN(const bool same, Same(below, above));
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

  Result<bool> Same(const TreeEntry& below, const TreeEntry& above) const {
    if (rules_.is_untouched && rules_.is_untouched(above)) return true;
    // Who was given a second name must be beside it.
    if (rules_.exact && !above.node->IsDirectory() && above.node->nlink > 1) return false;
    TRY_ASSIGN(const bool same, SameEntry(lower_, below, upper_, above));
    if (!same || !rules_.exact) return same;
    if (below.node->mtime_ns != above.node->mtime_ns) return false;
    TRY_ASSIGN(const sys::Xattrs old, lower_.Xattrs(below));
    TRY_ASSIGN(const sys::Xattrs now, upper_.Xattrs(above));
    return old == now;
  }

  Status Copy(const TreeEntry& above) {
    if (rules_.exact && S_ISSOCK(above.node->mode)) return OkStatus();
    CopyOptions copy;
    copy.skip_sockets = rules_.exact;
    copy.links = &links_;
    TRY(CopyTree(activity_, upper_, above, writer_, above.path, copy));
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
  const DifferenceRules& rules_;
  CopiedLinks links_;
};

}  // namespace

Status WriteDifference(const progress::Activity& activity, const TreeView& lower,
                       const TreeView& upper, LayerWriter& writer, const DifferenceRules& rules) {
  return DifferenceWriter(activity, lower, upper, writer, rules).Run();
}

}  // namespace kiln::store
