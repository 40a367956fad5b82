#pragma once

#include <string>
#include <variant>
#include <vector>

#include "llb/build.h"

namespace kiln::llb {

struct DeferredSpec {
  std::string label;
};

struct FileSpec {
  Output base;
  std::vector<FileAction> actions;
};

struct MergeSpec {
  std::vector<Output> inputs;
};

struct DiffSpec {
  Output lower;
  Output upper;
};

// A vertex of a definition that was received: stays byte for byte what it was, so that its digest
// does.
struct ImportedSpec {
  std::string op;
  std::string metadata;  // serialized pb.OpMetadata
  std::vector<Output> inputs;
};

using NodeSpec =
    std::variant<DeferredSpec, SourceSpec, ExecSpec, FileSpec, MergeSpec, DiffSpec, ImportedSpec>;

// A vertex under construction. Immutable once made, but for a deferred source.
class Node {
 public:
  Node(NodeSpec spec, VertexOptions options) : spec(std::move(spec)), options(std::move(options)) {}
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  // Long chains: frees what only this node holds without recursing.
  ~Node();

  NodeSpec spec;
  VertexOptions options;
};

// Every output that the node takes as input; scratch left out; duplicates kept.
std::vector<Output> InputsOf(const Node& node);

}  // namespace kiln::llb
