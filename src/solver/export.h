#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "solver/cache_source.h"
#include "solver/ids.h"
#include "solver/stored_result.h"

namespace kiln::solver {

// What leads to some results, ready to be written as a remote cache (cacheconfig v0). Nodes are
// keys, every node's inputs stand before it. Keys that rest on random ones alone are left out; so
// are the nodes that need them.
struct ExportNode {
  struct Input {
    size_t node = 0;
    std::string selector;
  };
  KeyId id;           // the local source's id
  KeyId exported_id;  // digest text: the id itself for root and content keys, else sha256(D@n)
  KeyDigest digest;   // "" for root and content keys
  int output = 0;
  bool root = false;  // a root or content key: no inputs, carries no layers
  // For each input of the op all known alternatives, sorted by (node, selector); never empty lists.
  std::vector<std::vector<Input>> inputs;
  // The stored results, newest first, to be claimed as the export needs them (Solver::Claim).
  std::vector<RecordInfo> records;
  // The result in hand, where an edge of the exporting scope has this key and is Done.
  std::optional<ResultHandle> live;
  // LLB metadata of that edge's vertex.
  std::optional<bool> export_cache;
};

struct ExportGraph {
  std::vector<ExportNode> nodes;
  // For each edge asked about, the nodes of its keys; empty if none can be exported.
  std::vector<std::vector<size_t>> roots;
};

}  // namespace kiln::solver
