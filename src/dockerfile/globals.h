#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/expand.h"
#include "dockerfile/options.h"
#include "oci/platform.h"

namespace kiln::dockerfile {

// Variables that FROM sees and that ARG without a value takes in a stage: the automatic platform
// ones and the ARGs before the first FROM.
using Variables = std::map<std::string, std::string, std::less<>>;

VariableLookup LookupIn(const Variables& variables);

// BUILDPLATFORM … TARGETVARIANT and TARGETSTAGE; build arguments of those names win.
Variables AutomaticVariables(const Options& options, const Dockerfile& file,
                             const oci::Platform& build, const oci::Platform& target);

// Adds the global ARGs, each seeing those before it. Errors carry their place.
Result<Variables> GlobalVariables(const Options& options, const Dockerfile& file,
                                  const SourceFile& source, Variables automatic);

}  // namespace kiln::dockerfile
