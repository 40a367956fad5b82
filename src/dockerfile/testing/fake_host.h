#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dockerfile/host.h"

namespace kiln::dockerfile {

// A world that tests make: images with configs, files of local sources. Remembers what was asked.
class FakeHost final : public Host {
 public:
  std::vector<Result<ImageInfo>> ResolveImages(const std::vector<ImageRequest>& requests) override;
  Result<std::optional<std::string>> ReadFile(const llb::Output& tree,
                                              const std::string& path) override;
  Result<std::optional<std::string>> ReadPrefix(const llb::Output& tree, const std::string& path,
                                                std::size_t bytes) override;
  Result<std::optional<llb::Output>> Input(const std::string& name) override;
  oci::Platform build_platform() const override { return platform; }
  std::string session_id() const override { return "session"; }

  // By reference as asked for ("docker.io/library/alpine:latest"): JSON of the config. Its digest
  // is made from it.
  std::map<std::string, std::string> images;
  // By reference: what a source policy makes of it.
  std::map<std::string, llb::SourceSpec> became;
  // By source identifier ("local://context"), then path.
  std::map<std::string, std::map<std::string, std::string>> files;
  std::map<std::string, llb::Output> inputs;
  oci::Platform platform{"linux", "amd64", "", "", {}};

  std::vector<ImageRequest> asked;
  std::vector<std::string> read;  // "local://context:.dockerignore"
};

}  // namespace kiln::dockerfile
