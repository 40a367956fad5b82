#pragma once

#include <grpcpp/support/server_callback.h>

#include <string>

#include "base/clock.h"
#include "base/pool.h"
#include "control/job_table.h"

namespace kiln::history {
class History;
}
namespace moby::buildkit::v1 {
class StatusResponse;
}  // namespace moby::buildkit::v1

namespace kiln::control {

// Adds "buildkit-current-timestamp" to the initial metadata.
void AddTimestamp(const Clock& clock, grpc::CallbackServerContext* context);

// Where Status finds builds; all outlive the streams.
struct StatusSources {
  JobTable& jobs;
  history::History& history;
  WorkerPool& blocking;
};

// Serves Control.Status: everything the build `ref` reports, from its start to its end; of a build
// that has ended its log, as its clients saw it; of one that is not there yet what it reports once
// it is.
grpc::ServerWriteReactor<moby::buildkit::v1::StatusResponse>* ServeStatus(
    const StatusSources& sources, const std::string& ref);

}  // namespace kiln::control
