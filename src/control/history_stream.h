#pragma once

#include <grpcpp/support/server_callback.h>
#include <moby/buildkit/v1/control.pb.h>

#include "base/clock.h"
#include "base/pool.h"
#include "history/history.h"

namespace kiln::control {

// Control.ListenBuildHistory: builds under way, then those that have ended, then what happens.
grpc::ServerWriteReactor<moby::buildkit::v1::BuildHistoryEvent>* ServeHistory(
    history::History& history, WorkerPool& blocking, const Clock& clock,
    grpc::CallbackServerContext* context, const moby::buildkit::v1::BuildHistoryRequest& request);

// Sends the log of a build that has ended, as its clients saw it.
grpc::ServerWriteReactor<moby::buildkit::v1::StatusResponse>* ServeRecordedStatus(
    history::History& history, WorkerPool& blocking, const std::string& ref);

}  // namespace kiln::control
