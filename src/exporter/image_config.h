#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/platform.h"
#include "store/layer.h"

namespace kiln::exporter {

// The image config to write: the frontend's `config` (empty: a default one for `platform`) with
// rootfs, history and `created` made to fit `layers` (bottom first). `base_config` ("" if none)
// says which history entries are the base image's: those keep their times when an epoch clamps the
// others. Unknown fields survive; top-level keys are sorted; deterministic. InvalidArgument
// `invalid image config for export: missing os`.
Result<std::string> MakeImageConfig(const std::string& config, const oci::Platform& platform,
                                    const std::vector<store::LayerBlob>& layers,
                                    const std::string& base_config,
                                    std::optional<int64_t> epoch_seconds);

}  // namespace kiln::exporter
