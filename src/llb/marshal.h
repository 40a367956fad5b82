#pragma once

#include <set>
#include <string>

#include "base/result.h"
#include "llb/build.h"
#include "pb/ops.pb.h"

namespace kiln::llb {

// The definition whose result is `output`: every vertex once, inputs first, a terminal op last,
// metadata with the capabilities each op needs, source locations. Deterministic: the same graph
// gives the same bytes. Scratch gives the empty definition. Linear in the size of the graph and not
// recursive. InvalidArgument: a deferred source that was not set, an exec without arguments, tmpfs
// with a source, and the like.
Result<pb::Definition> Marshal(const Output& output);

// The result of a definition that was received, to build on. Its vertices keep their digests,
// metadata and locations. The empty definition is scratch. Errors as Parse's, and InvalidArgument
// if an op stands before one of its inputs.
Result<Output> FromDefinition(const pb::Definition& definition);

// The capabilities an op and its metadata ask of whoever solves them.
std::set<std::string> RequiredCaps(const pb::Op& op, const pb::OpMetadata& metadata);

// The deterministic encoding that digests of our own ops are made from.
std::string EncodeOp(const pb::Op& op);

}  // namespace kiln::llb
