#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "moby/buildkit/v1/sourcepolicy/policy.pb.h"
#include "pb/ops.pb.h"

namespace kiln::build {

// Rules that allow, deny or rewrite sources (moby.buildkit.v1.sourcepolicy; gateway-exporters B9).
// All policies must allow; in each the last matching rule counts; a rewrite starts over from the
// first policy. Immutable; safe from any thread.
class SourcePolicy {
 public:
  // A policy that allows everything.
  SourcePolicy();
  ~SourcePolicy();
  SourcePolicy(SourcePolicy&&) noexcept;
  SourcePolicy& operator=(SourcePolicy&&) noexcept;

  // Regular expressions are compiled here: RE2 syntax, which is Go's.
  static Result<SourcePolicy> Create(
      const std::vector<moby::buildkit::v1::sourcepolicy::Policy>& policies);

  bool empty() const { return policies_.empty(); }
  // Rewrites `source` as the rules say; true if it changed. The identifier should be the canonical
  // one (llb::CanonicalIdentifier). Errors: `source "x" denied by policy: source denied by policy`,
  // `too many mutations on a single source: too many operations`, `missing destination for convert
  // rule`.
  Result<bool> Evaluate(pb::SourceOp& source) const;

 private:
  class Rule;
  using Policy = std::vector<std::unique_ptr<Rule>>;
  Result<bool> EvaluateOne(const Policy& policy, pb::SourceOp& source) const;

  std::vector<Policy> policies_;
};

}  // namespace kiln::build
