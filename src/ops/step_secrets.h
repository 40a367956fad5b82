#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/secret.h"
#include "progress/activity.h"

namespace kiln::session {
class Manager;
}

namespace kiln::ops {

// What a step may ask of the clients on whose behalf it runs. Safe from any thread; all block.
class StepSecrets {
 public:
  virtual ~StepSecrets() = default;
  // NotFound: no client has it.
  virtual Result<SecretString> GetSecret(const progress::Activity& activity,
                                         const std::string& id) = 0;
  // Whether a client forwards that agent ("" is "default"): OK, or NotFound.
  virtual Status CheckSshAgent(const progress::Activity& activity, const std::string& id) = 0;
  // Connects a stream socket with the agent until either side is done.
  virtual Status ForwardSshAgent(const progress::Activity& activity, const std::string& id,
                                 Fd connection) = 0;
};

// Asks the sessions of the activity. `manager` outlives it.
std::unique_ptr<StepSecrets> MakeSessionSecrets(session::Manager& manager);

}  // namespace kiln::ops
