#pragma once

#include "frontend/gateway.h"

namespace kiln::dockerfile {
struct LoadedDockerfile;
struct Options;
}  // namespace kiln::dockerfile

namespace kiln::frontend {

class BuildHost;

// `dockerfile.v0`: module `dockerfile` with a world behind it.
class DockerfileFrontend final : public Frontend {
 public:
  Result<build::BuildResult> Solve(const progress::Activity& activity, const GatewayPtr& gateway,
                                   const Request& request) override;

 private:
  static Result<build::BuildResult> Convert(const progress::Activity& activity,
                                            const GatewayPtr& gateway, const Request& request);
  static Result<build::BuildResult> ConvertLoaded(const progress::Activity& activity,
                                                  const GatewayPtr& gateway,
                                                  const dockerfile::Options& options,
                                                  const dockerfile::LoadedDockerfile& loaded,
                                                  BuildHost& host);
};

// `gateway.v0`. Serves images that the built-in frontend stands for; all others are refused by
// name.
class GatewayFrontend final : public Frontend {
 public:
  // `repositories`: the images that may be asked for, without tags; empty: all.
  explicit GatewayFrontend(std::vector<std::string> repositories = {})
      : repositories_(std::move(repositories)) {}

  Result<build::BuildResult> Solve(const progress::Activity& activity, const GatewayPtr& gateway,
                                   const Request& request) override;

 private:
  bool Allows(const std::string& source) const;

  const std::vector<std::string> repositories_;
};

// Whether `# syntax=` and `source=` may name this and get the built-in Dockerfile frontend:
// "dockerfile.v0" and the repositories docker/dockerfile and docker/dockerfile-upstream with any
// tag.
bool IsBuiltInSyntax(const std::string& name);

}  // namespace kiln::frontend
