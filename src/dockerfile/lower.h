#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/host.h"
#include "dockerfile/lower_observer.h"
#include "dockerfile/lower_stage.h"
#include "dockerfile/options.h"
#include "llb/build.h"
#include "oci/image_config.h"
#include "oci/platform.h"

namespace kiln::dockerfile {

// One conversion: a parsed file, for one platform.
struct LowerInput {
  const Options& options;
  const Dockerfile& file;
  const SourceFile& source;
  std::shared_ptr<const llb::SourceFile> llb_source;
  Host& host;
  oci::Platform platform;  // of the result
  bool explicit_platform = false;
  FromTree main_context;
  std::optional<llb::SourceSpec> main_source;  // of a context at a remote place
  LowerObserver* observer = nullptr;           // may be null
  bool all_stages = false;                     // also those that the target does not need
};

struct Lowered {
  llb::Output root;
  oci::ImageConfig image;
  std::optional<oci::ImageConfig> base_image;
  std::optional<std::int64_t> epoch;
  bool lists_layers = false;  // what it begins with has such a list, be it empty
};

// Only the stages that the target needs are lowered, unless all are asked for. Errors carry their
// place.
Result<Lowered> Lower(const LowerInput& input);

}  // namespace kiln::dockerfile
