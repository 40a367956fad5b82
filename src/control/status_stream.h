#pragma once

#include <grpcpp/support/server_callback.h>

#include "base/clock.h"
#include "control/job_table.h"

namespace moby::buildkit::v1 {
class StatusRequest;
class StatusResponse;
}  // namespace moby::buildkit::v1

namespace kiln::control {

// Adds "buildkit-current-timestamp" to the initial metadata.
void AddTimestamp(const Clock& clock, grpc::CallbackServerContext* context);

// Serves Control.Status: everything the build reports, from its start to its end.
grpc::ServerWriteReactor<moby::buildkit::v1::StatusResponse>* ServeStatus(
    JobTable& jobs, const Clock& clock, grpc::CallbackServerContext* context,
    const moby::buildkit::v1::StatusRequest& request);

}  // namespace kiln::control
