#pragma once

#include "progress/progress.h"

namespace moby::buildkit::v1 {
class StatusResponse;
}

namespace kiln::client {

// Passes the events of one status message on. A vertex that completes comes twice if the message
// has statuses or logs of it: begun before them, completed after.
void Emit(const moby::buildkit::v1::StatusResponse& response, progress::Sink& sink);

}  // namespace kiln::client
