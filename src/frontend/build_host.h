#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "build/files.h"
#include "dockerfile/host.h"
#include "frontend/gateway.h"

namespace kiln::frontend {

// What the Dockerfile module asks of the world, answered by one build. One per request; for the
// request's thread.
class BuildHost final : public dockerfile::Host {
 public:
  BuildHost(progress::Activity activity, GatewayPtr gateway, const Request& request)
      : activity_(std::move(activity)), gateway_(std::move(gateway)), request_(request) {}

  std::vector<Result<dockerfile::ImageInfo>> ResolveImages(
      const std::vector<dockerfile::ImageRequest>& requests) override;
  Result<std::optional<std::string>> ReadFile(const llb::Output& tree,
                                              const std::string& path) override;
  Result<std::optional<std::string>> ReadIfShared(const llb::Output& tree,
                                                  const std::string& path) override;
  Result<std::optional<std::string>> ReadPrefix(const llb::Output& tree, const std::string& path,
                                                std::size_t bytes) override;
  Result<std::optional<llb::Output>> Input(const std::string& name) override;
  Result<std::optional<std::int64_t>> SourceTime(const llb::SourceSpec& source,
                                                 const std::string& log_name) override;
  oci::Platform build_platform() const override;
  std::string session_id() const override { return gateway_->session_id(); }

 private:
  Result<std::optional<std::string>> Read(const llb::Output& tree, const std::string& path,
                                          std::optional<build::FileRange> range);
  Result<dockerfile::ImageInfo> ResolveOne(const dockerfile::ImageRequest& request);
  Status ReadInputs();

  const progress::Activity activity_;
  const GatewayPtr gateway_;
  const Request& request_;
  // All of the request's, once one was asked for.
  std::optional<std::map<std::string, llb::Output>> inputs_;
  // Several files are read of one tree.
  std::map<Digest, build::ReferencePtr> trees_;
  std::map<std::string, Result<dockerfile::ImageInfo>> images_;
};

}  // namespace kiln::frontend
