#pragma once

#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "pb/ops.pb.h"

namespace kiln::llb {

inline constexpr std::string_view kSourceDetailType =
    "github.com/moby/buildkit/errdefs.Source+json";
inline constexpr std::string_view kVertexDetailType =
    "github.com/moby/buildkit/errdefs.Vertex+json";

// The locations of a vertex as typed error details, one per location, the one given last first,
// each with the whole source file. Locations that name no file of `source`, or no range, are left
// out.
std::vector<ErrorDetail> SourceDetails(const pb::Source& source, std::string_view vertex_digest);

// One such detail (also for warnings and parse errors that know their lines).
ErrorDetail SourceDetail(const pb::SourceInfo& info, const std::vector<pb::Range>& ranges);

ErrorDetail VertexDetail(std::string_view vertex_digest);

}  // namespace kiln::llb
