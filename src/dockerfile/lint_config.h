#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/options.h"

namespace kiln::dockerfile {

struct RuleInfo;

// Which build checks are made and what becomes of their findings: the value of a `check`
// directive.
struct LintConfig {
  bool skip_all = false;
  std::set<std::string, std::less<>> skip;
  bool experimental_all = false;
  std::set<std::string, std::less<>> experimental;
  bool error = false;  // findings fail the build

  // Adds what a comment before one instruction says.
  void Merge(const LintConfig& other);
  bool Wants(const RuleInfo& rule) const;
};

// `skip=all|R1,R2;error=true;experimental=all|R1`, at most three parts. Errors: `invalid check
// option "x"`.
Result<LintConfig> ParseLintConfig(std::string_view text);

// Of a request: the build argument BUILDKIT_DOCKERFILE_CHECK, else the file's directive.
Result<LintConfig> LintConfigOf(const Options& options, std::string_view data);

// What the first `check=` among comments before an instruction says; nothing if it is malformed.
LintConfig LintConfigOfComments(const std::vector<std::string>& comments);

}  // namespace kiln::dockerfile
