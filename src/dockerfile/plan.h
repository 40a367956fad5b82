#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/host.h"
#include "dockerfile/lint.h"
#include "dockerfile/options.h"
#include "llb/build.h"
#include "oci/image_config.h"
#include "oci/platform.h"

// From a request to what has to be solved: the module's entry points, in the order in which a
// frontend calls them.
//   ParseOptions → CheckCaps → LoadDockerfile → (FindSyntax) → MakePlan → solve each root →
//   ResultMetadata
namespace kiln::dockerfile {

struct LoadedDockerfile {
  SourceFile source;
  std::shared_ptr<const llb::SourceFile> llb_source;
  // NAME.dockerignore beside the file, if there is one; else the context's own is asked for.
  std::optional<std::string> ignore_file;
};

// Reads the file and what stands beside it. Errors are prefixed `failed to read dockerfile`.
Result<LoadedDockerfile> LoadDockerfile(const Options& options, Host& host);

struct PlatformPlan {
  std::string id;  // "linux/arm64"
  oci::Platform platform;
  llb::Output root;
  oci::ImageConfig image;
  std::optional<oci::ImageConfig> base_image;
  bool lists_layers = false;  // what it begins with has such a list, be it empty
};

struct Plan {
  bool multi_platform = false;          // references and metadata by platform
  std::vector<PlatformPlan> platforms;  // as requested; at least one
  std::optional<std::int64_t> epoch;
};

// What else is wanted of a conversion. Only that of the first platform is watched.
struct PlanExtras {
  Linter* linter = nullptr;
  LowerObserver* observer = nullptr;
  bool all_stages = false;  // also those that the target does not need
};

Result<Plan> MakePlan(const Options& options, const LoadedDockerfile& loaded, Host& host,
                      const PlanExtras& extras = {});

// `containerimage.config`, `refs.platforms` and their like.
std::map<std::string, std::string> ResultMetadata(const Plan& plan);

}  // namespace kiln::dockerfile
