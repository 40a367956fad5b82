#pragma once

#include <optional>
#include <string>

#include "build/job.h"
#include "oci/platform.h"
#include "pb/ops.pb.h"
#include "source/sources.h"

namespace kiln::build {

// moby.buildkit.v1.frontend.ResolveSourceMetaRequest.
struct SourceMetaRequest {
  pb::SourceOp source;
  std::optional<oci::Platform> platform;  // unset: the host's
  std::string log_name;                   // of the step that clients see; "" is made from the identifier
  std::string resolve_mode;               // "", "default", "pull", "local": for images whose source does not say
  bool with_config = true;
};

struct SourceMeta {
  pb::SourceOp source;                      // as the source policy left it; pinned names stay as they are
  std::optional<source::ImageMeta> image;   // unset: not an image (a policy made another kind of source of it)
};

// What a source is now, the same for the whole build. Shown to clients as a step. Blocks. Errors: `could not resolve image due to
// policy`, Unimplemented for metadata of sources that are not served.
Result<SourceMeta> ResolveSourceMeta(Job& job, const progress::Activity& activity, const SourceMetaRequest& request);

}  // namespace kiln::build
