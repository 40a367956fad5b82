#pragma once

#include "exporter/exporter.h"

namespace kiln::exporter {

// Types `local` (files sent into a folder of the client) and `tar` (one archive of them).
Result<std::unique_ptr<Exporter>> MakeTreeExporter(const Services& services, const Request& request,
                                                   int index, const std::string& session_id);

}  // namespace kiln::exporter
