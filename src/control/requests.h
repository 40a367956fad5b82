#pragma once

// What clients ask of Control, as values; nothing is done here.

#include <moby/buildkit/v1/control.pb.h>

#include <vector>

#include "base/result.h"
#include "exporter/exporter.h"
#include "frontend/gateway.h"
#include "store/usage.h"

namespace kiln::control {

// The build that is asked for; neither definition nor frontend if the client drives it itself.
frontend::Request RequestOf(const moby::buildkit::v1::SolveRequest& from);
// What a SolveRequest exports: the deprecated fields count only where there are no others;
// SOURCE_DATE_EPOCH of the frontend's build arguments becomes an attribute of every exporter
// without one.
std::vector<exporter::Request> ExportersOf(const moby::buildkit::v1::SolveRequest& request);
// 0 is 30; 10, 20 and 30 are accepted.
Result<int> CompatibilityVersionOf(const moby::buildkit::v1::SolveRequest& request);
// A cache that is asked for and not served: the build does without, and says so in a step of its
// own.
struct UnservedCache {
  std::string step;
  Error why;
};
std::vector<UnservedCache> UnservedCachesOf(const moby::buildkit::v1::SolveRequest& request);
// Refuses by name what this daemon does not serve and what a build cannot do without.
Status CheckServed(const moby::buildkit::v1::SolveRequest& request);

// What a prune takes.
Result<store::PruneRule> RuleOf(const moby::buildkit::v1::PruneRequest& request);

}  // namespace kiln::control
