#pragma once

#include <utility>

#include "base/error.h"
#include "base/result.h"
#include "dockerfile/ast.h"

// Errors that point into a Dockerfile. They travel as the detail type BuildKit's clients print as
// an excerpt.
namespace kiln::dockerfile {

// Adds a source detail naming every line of `lines`, unless the error already points somewhere.
Error WithSource(Error error, const SourceFile& file, LineRange lines);
// Adds one in any case.
Error WithMoreSource(Error error, const SourceFile& file, LineRange lines);

template <typename T>
Result<T> WithSource(Result<T> result, const SourceFile& file, LineRange lines) {
  if (result.ok()) return result;
  return WithSource(std::move(result).error(), file, lines);
}

}  // namespace kiln::dockerfile
