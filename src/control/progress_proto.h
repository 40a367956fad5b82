#pragma once

#include <cstddef>

#include "progress/progress.h"

namespace moby::buildkit::v1 {
class StatusResponse;
}

namespace kiln::control {

// Append to a batch; return the bytes added.
size_t AddVertex(const progress::Vertex& vertex, moby::buildkit::v1::StatusResponse* batch);
size_t AddStatus(const progress::VertexStatus& status, moby::buildkit::v1::StatusResponse* batch);
size_t AddWarning(const progress::VertexWarning& warning,
                  moby::buildkit::v1::StatusResponse* batch);
// Vertices by start (unstarted first), statuses and logs by time; equal ones keep their order.
void SortBatch(moby::buildkit::v1::StatusResponse* batch);

}  // namespace kiln::control
