#pragma once

#include <grpcpp/support/server_callback.h>
#include <moby/buildkit/v1/control.pb.h>

#include "base/clock.h"
#include "base/pool.h"
#include "history/history.h"

namespace kiln::control {

// How many events may wait for a client that listens to the history and does not read.
inline constexpr size_t kMaxWaitingEvents = 4096;

// Control.ListenBuildHistory: builds under way, then those that have ended, then what happens. All
// outlive the stream.
grpc::ServerWriteReactor<moby::buildkit::v1::BuildHistoryEvent>* ServeHistory(
    history::History& history, WorkerPool& blocking, const Clock& clock,
    const moby::buildkit::v1::BuildHistoryRequest& request);

}  // namespace kiln::control
