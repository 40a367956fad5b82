#pragma once

#include <optional>

#include "base/digest.h"
#include "base/error.h"

namespace kiln::solver {

// The step that an error of Scope::Get comes from, as the asking build knows it (LLB digest). Kept
// as a private detail of the error; of nested steps the innermost.
std::optional<Digest> FailedVertex(const Error& error);
// Adds it unless the error names a step already.
Error WithFailedVertex(Error error, const Digest& vertex);

}  // namespace kiln::solver
