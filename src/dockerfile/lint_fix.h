#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/lint.h"

namespace kiln::dockerfile {

struct FixedFile {
  std::string data;
  int fixed = 0;  // findings that are gone
};

// Mends those findings that need no thought: casing, MAINTAINER, legacy ENV and LABEL, blank
// continuation lines, casing of protocols in EXPOSE, a platform that is the default anyway.
// Everything else stays as it is, byte for byte. One finding may hide another: call it again with
// what is found then.
Result<FixedFile> FixFindings(const SourceFile& source, const std::vector<Finding>& findings);

}  // namespace kiln::dockerfile
