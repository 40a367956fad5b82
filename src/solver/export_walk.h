#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/loop.h"
#include "solver/export.h"

namespace kiln::solver {

// Walks the local source's links from some keys back to the roots, level by level in batches, and
// puts together what an export writes. Calls back on the loop; keeps itself alive meanwhile.
class ExportWalk : public std::enable_shared_from_this<ExportWalk> {
 public:
  // `live`: what edges in hand say about keys.
  struct Live {
    ResultHandle handle;
    std::optional<bool> export_cache;
  };
  ExportWalk(TaskQueue& loop, LocalCacheSourcePtr local, std::map<KeyId, Live> live,
             std::vector<std::vector<KeyId>> roots, Callback<ExportGraph> done);

  void Start();

 private:
  struct Node {
    std::vector<ParentLink> parents;
    KeyInfo info;
  };

  void NextLevel();
  void Finish();
  std::vector<KeyId> InputsFirst() const;

  TaskQueue& loop_;
  LocalCacheSourcePtr local_;
  std::map<KeyId, Live> live_;
  std::vector<std::vector<KeyId>> roots_;
  Callback<ExportGraph> done_;
  std::map<KeyId, Node> nodes_;
  std::vector<KeyId> todo_;
};

}  // namespace kiln::solver
