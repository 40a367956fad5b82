#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "llb/build.h"
#include "llb/node.h"
#include "pb/ops.pb.h"

namespace kiln::llb {

// Digests of the nodes that were encoded already.
using NodeDigests = std::map<const Node*, std::string>;

// The op of a node whose inputs all stand in `digests`.
Result<pb::Op> EncodeNode(const Node& node, const NodeDigests& digests);

// Everything of VertexOptions but platform and locations.
pb::OpMetadata EncodeMetadata(const VertexOptions& options);

}  // namespace kiln::llb
