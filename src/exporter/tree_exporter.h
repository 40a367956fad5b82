#pragma once

#include <memory>
#include <string>

#include "exporter/exporter.h"

namespace kiln::exporter {

// The folder of a platform: one component of a path, whatever a frontend has named the platform and
// whatever system the client runs.
std::string PlatformFolderName(std::string id);

// Types `local` (files sent into a folder of the client) and `tar` (one archive of them).
Result<std::unique_ptr<Exporter>> MakeTreeExporter(const Services& services, const Request& request,
                                                   int index, const std::string& session_id);

}  // namespace kiln::exporter
