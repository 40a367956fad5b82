#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "build/result.h"
#include "moby/buildkit/v1/frontend/gateway.pb.h"

// Results between values and the wire (message Result of the gateway).
namespace kiln::frontend {

namespace wire = ::moby::buildkit::v1::frontend;

// Gives a reference an id; "" for none.
using KeepReference = std::function<std::string(const build::ReferencePtr&)>;
using FindReference = std::function<Result<build::ReferencePtr>(const std::string& id)>;

// With `refs_with_definitions` as current clients want it; else ids only.
void ToProto(const build::BuildResult& result, bool refs_with_definitions,
             const KeepReference& keep, wire::Result* out);

// Both shapes are understood. The empty id is no reference.
Result<build::BuildResult> FromProto(const wire::Result& result, const FindReference& find);

}  // namespace kiln::frontend
