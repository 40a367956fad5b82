#pragma once

#include "frontend/gateway.h"

namespace kiln::frontend {

// `dockerfile.v0`: module `dockerfile` with a world behind it.
class DockerfileFrontend final : public Frontend {
 public:
  Result<build::BuildResult> Solve(const progress::Activity& activity, const GatewayPtr& gateway,
                                   const Request& request) override;

 private:
  static Result<build::BuildResult> Convert(const progress::Activity& activity,
                                            const GatewayPtr& gateway, const Request& request);
};

// `gateway.v0`. Serves images that the built-in frontend stands for; all others are refused by
// name.
class GatewayFrontend final : public Frontend {
 public:
  Result<build::BuildResult> Solve(const progress::Activity& activity, const GatewayPtr& gateway,
                                   const Request& request) override;
};

// Whether `# syntax=` and `source=` may name this and get the built-in Dockerfile frontend:
// "dockerfile.v0" and the repositories docker/dockerfile and docker/dockerfile-upstream with any
// tag.
bool IsBuiltInSyntax(const std::string& name);

}  // namespace kiln::frontend
