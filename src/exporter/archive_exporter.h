#pragma once

#include "exporter/exporter.h"

namespace kiln::exporter {

// Types `oci` and `docker`: the image as a tar (OCI image-layout; for docker with manifest.json)
// streamed to the client, or with tar=false into the client's content store "export".
Result<std::unique_ptr<Exporter>> MakeArchiveExporter(const Services& services,
                                                      const Request& request, int index,
                                                      const std::string& session_id);

}  // namespace kiln::exporter
