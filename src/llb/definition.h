#pragma once

// A definition as received → a checked graph. Two steps, so that source policies can rewrite
// sources in between:
//   Parse → (change ops[i].op.source, MarkChanged) → Link.
// Everything in a definition is hostile. Nothing here recurses along the graph; time is linear in
// its size.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "oci/platform.h"
#include "pb/ops.pb.h"

namespace kiln::llb {

enum class OpKind { kTerminal, kExec, kSource, kFile, kBuild, kMerge, kDiff, kPassthrough };

OpKind KindOf(const pb::Op& op);
// "exec", "source", …
std::string_view KindName(OpKind kind);

struct Limits {
  size_t max_ops = 250'000;
  size_t max_inputs_per_op = 16'384;
  size_t max_total_bytes = size_t{64} << 20;
};

struct RawOp {
  pb::Op op;
  Digest original;  // of the bytes as received; metadata and locations are keyed by it
  bool changed = false;
};

// The ops of a definition, each once, in the order received; the last one is the terminal op.
struct RawGraph {
  std::vector<RawOp> ops;
};

// `invalid empty definition`, `failed to parse llb proto op`, `invalid input %d output index %d`,
// and over a limit ResourceExhausted.
Result<RawGraph> Parse(const pb::Definition& definition, const Limits& limits = {});

// One output of one vertex of a Graph.
struct Edge {
  uint32_t vertex = 0;
  int64_t output = 0;
  friend bool operator==(const Edge&, const Edge&) = default;
};

struct Vertex {
  Digest
      digest;  // of the op with its inputs' digests; differs from `original` below a changed source
  Digest original;
  pb::Op op;  // platform always set and normalised
  pb::OpMetadata metadata;
  std::vector<Edge> inputs;
  std::string name;  // for the user

  OpKind kind() const { return KindOf(op); }
  oci::Platform platform() const;
};

// Only what the result needs, inputs before their users.
struct Graph {
  std::vector<Vertex> vertices;
  Edge root;
};

// Rewrites digests bottom-up, drops the terminal op, keeps what is reachable, checks each op's
// structure, normalises platforms (missing: the host's), names vertices. Errors carry upstream's
// texts, without the prefix "failed to load LLB: ", which the caller adds. Does not look at
// capabilities (caps.h).
Result<Graph> Link(RawGraph raw, const pb::Definition& definition);

// Parse and Link.
Result<Graph> Load(const pb::Definition& definition, const Limits& limits = {});

// Structure of one op (`invalid exec op with no args`, …). Link does it for every vertex.
Status Validate(const pb::Op& op);

// How many outputs the op has. Exec outputs are positional: mounts with an output, in order.
size_t OutputCount(const pb::Op& op);

oci::Platform PlatformFromPb(const pb::Platform& platform);
pb::Platform PlatformToPb(const oci::Platform& platform);

// The name made from an op alone; merge and diff use the names of their inputs.
std::string VertexName(const pb::Op& op, const std::vector<std::string>& input_names);

}  // namespace kiln::llb
