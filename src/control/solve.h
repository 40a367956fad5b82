#pragma once

#include "build/environment.h"
#include "control/control_service.h"
#include "exporter/exporter.h"
#include "frontend/bridge.h"
#include "frontend/gateway.h"

namespace kiln::control {

// Control.Solve: from the request to results, exports and the answer (wire-control-session §3.1).
// Blocks.
class BuildSolver final : public Solver {
 public:
  // Everything outlives the solver.
  struct Parts {
    const build::Environment* environment = nullptr;
    const frontend::Services* frontends = nullptr;
    exporter::Services exporters;
    JobTable* jobs = nullptr;
  };

  explicit BuildSolver(const Parts& parts) : parts_(parts) {}

  Status Solve(const LiveJobPtr& job, const moby::buildkit::v1::SolveRequest& request,
               moby::buildkit::v1::SolveResponse* response, BuildOutcome* made) override;

 private:
  Result<build::BuildResult> RunFrontend(const LiveJobPtr& job, const frontend::GatewayPtr& gateway,
                                         const moby::buildkit::v1::SolveRequest& request);

  const Parts parts_;
};

}  // namespace kiln::control
