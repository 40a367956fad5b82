#pragma once

#include <memory>
#include <string>
#include <vector>

#include "store/index_cache.h"
#include "store/keyed_gate.h"
#include "store/record.h"
#include "store/root.h"
#include "store/snapshotter.h"
#include "store/tree.h"

namespace kiln::store {

// How chains of layers are looked at: as one tree, and as directories to mount. Safe from any
// thread.
class Views {
 public:
  Views(Root* root, IndexCache* indexes);

  const Snapshotter& snapshotter() const { return *snapshotter_; }
  // Where a layer's files are.
  std::string LayerDir(const RecordPtr& record) const;
  Result<std::shared_ptr<LayerTree>> TreeOf(const RecordPtr& record);
  // `hold` lives as long as the view.
  Result<TreeView> ViewOf(const std::vector<RecordPtr>& chain, std::shared_ptr<const void> hold);
  // Whether the whole chain is unpacked.
  static bool IsLocal(const RecordPtr& top);
  // What to mount, bottom first: the chain's directories, the lower part replaced by a flattened
  // one if there are too many.
  Result<std::vector<std::string>> MountDirs(const progress::Activity& activity,
                                             const RecordPtr& top);
  // The same; an error if it is not local.
  Result<std::vector<std::string>> LocalDirs(const RecordPtr& top);
  // Read-only.
  Result<sys::MountDescription> MountOf(const RecordPtr& top);
  // Files of the chain that are hard links to files of a context.
  std::shared_ptr<LinkedInodes> LinksBelow(const std::vector<RecordPtr>& chain) const;

 private:
  Result<std::string> Flatten(const progress::Activity& activity,
                              const std::vector<RecordPtr>& part, const RecordPtr& owner);
  Result<bool> IsDangling(const RecordPtr& part);

  Root* const root_;
  IndexCache* const indexes_;
  std::unique_ptr<Snapshotter> snapshotter_;
  KeyedGate gate_;  // one flattening of a thing at a time
};

}  // namespace kiln::store
