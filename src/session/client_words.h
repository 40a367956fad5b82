#pragma once

// Inside session only: what clients say of themselves and of others, taken in.

#include <moby/filesync/v1/auth.pb.h>

#include "base/result.h"
#include "rpc/metadata.h"
#include "session/auth.h"
#include "session/manager.h"

namespace kiln::session {

// The headers of a call that opens a session.
SessionInfo InfoOf(const rpc::MetadataMap& headers);
Result<HealthPolicy> HealthOf(const rpc::MetadataMap& headers);

// A token that the client got at a registry: its times are what that said.
ClientToken TokenOf(const moby::filesync::v1::FetchTokenResponse& response);

}  // namespace kiln::session
