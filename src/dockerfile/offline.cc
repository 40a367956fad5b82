#include "dockerfile/offline.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace kiln::dockerfile {
namespace {

// A world where every image exists and no file can be read.
class NoWorld final : public Host {
 public:
  std::vector<Result<ImageInfo>> ResolveImages(const std::vector<ImageRequest>& requests) override {
    std::vector<Result<ImageInfo>> answers;
    for (const ImageRequest& request : requests) {
      const nlohmann::json config = {
          {"os", request.platform.os},
          {"architecture", request.platform.architecture},
          {"rootfs", {{"type", "layers"}, {"diff_ids", {"sha256:" + std::string(64, '0')}}}}};
      answers.emplace_back(ImageInfo{request.ref, std::nullopt, config.dump(), {}});
    }
    return answers;
  }
  Result<std::optional<std::string>> ReadFile(const llb::Output&, const std::string&) override {
    return std::optional<std::string>();
  }
  Result<std::optional<std::string>> ReadPrefix(const llb::Output&, const std::string&,
                                                std::size_t) override {
    return std::optional<std::string>();
  }
  Result<std::optional<llb::Output>> Input(const std::string&) override {
    return std::optional<llb::Output>();
  }
  oci::Platform build_platform() const override { return oci::HostPlatform(); }
  std::string session_id() const override { return ""; }
};

}  // namespace

OfflineCheck CheckOffline(const Options& options, const LoadedDockerfile& loaded) {
  OfflineCheck check;
  const auto run = [&]() -> Status {
    TRY_ASSIGN(LintConfig config, LintConfigOf(options, loaded.source.data));
    Linter linter(std::move(config),
                  [&](const Finding& finding) { check.findings.push_back(finding); });
    linter.AssumeUnknownImages();
    NoWorld world;
    TRY(MakePlan(options, loaded, world, {&linter, nullptr, options.target.empty()}));
    return OkStatus();
  };
  check.status = run();
  return check;
}

}  // namespace kiln::dockerfile
