#pragma once

#include "llb/source_id.h"
#include "source/source.h"
#include "source/sources.h"

namespace kiln::source {

// docker-image+blob:// and oci-layout+blob://: one blob as a file.
Result<SourcePtr> MakeBlobFile(const Services& services, const llb::BlobSource& spec);

}  // namespace kiln::source
