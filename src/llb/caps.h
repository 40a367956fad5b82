#pragma once

// The LLB and frontend capabilities that this build announces. A capability stands here only if it
// is served, and says which test shows it; tools read the table.

#include <span>
#include <string_view>

#include "base/result.h"
#include "pb/ops.pb.h"

namespace kiln::llb {

struct Cap {
  std::string_view id;
  std::string_view
      test;  // the test that shows it served: "Suite.Name" of a unit test, or "tests/file.py::name"
  bool deprecated = false;
};

// Sorted by id.
std::span<const Cap> LlbCaps();
std::span<const Cap> FrontendCaps();

// Whether an op that asks for `id` may be loaded. Two ids are served but, as upstream, not
// announced.
bool IsServed(std::string_view id);

// Every capability in metadata.caps. InvalidArgument: `unknown API capability X`, or for one that
// exists upstream but is not served here `requested feature X is not supported by this build
// server`.
Status CheckCaps(const pb::OpMetadata& metadata);

}  // namespace kiln::llb
