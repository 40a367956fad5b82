#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/secret.h"
#include "progress/activity.h"
#include "session/manager.h"

namespace kiln::session {

// Secret `id` from any session of the activity (moby.buildkit.secrets.v1). NotFound "secret ID: not
// found" if no client has it; callers skip optional ones then.
Result<SecretString> GetSecret(Manager& manager, const progress::Activity& activity,
                               const std::string& id);

// The session of the activity whose client forwards SSH agent `id` ("" is "default").
Result<SessionPtr> FindSshAgent(Manager& manager, const progress::Activity& activity,
                                const std::string& id);
// Connects `connection` (a stream socket) with that agent (moby.sshforward.v1) until either side is
// done. Blocks; half closes are passed on in both directions.
Status ForwardSshAgent(const progress::Activity& activity, Session& session, const std::string& id,
                       Fd connection);

}  // namespace kiln::session
