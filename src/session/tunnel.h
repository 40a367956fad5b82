#pragma once

#include <grpcpp/support/server_callback.h>

#include "rpc/poller.h"
#include "session/manager.h"

namespace moby::buildkit::v1 {
class BytesMessage;
}

namespace kiln::session {

// Serves one Control.Session RPC: makes the tunnel, registers the session that the client's
// metadata describes, and ends it with the RPC. `manager` and `poller` outlive the RPC.
grpc::ServerBidiReactor<moby::buildkit::v1::BytesMessage, moby::buildkit::v1::BytesMessage>*
ServeSession(Manager& manager, rpc::Poller& poller, grpc::CallbackServerContext* context);

}  // namespace kiln::session
