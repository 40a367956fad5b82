#pragma once

#include "exporter/exporter.h"

namespace kiln::exporter {

// Type `image`: assembles the image and, with push=true, uploads it under each name.
Result<std::unique_ptr<Exporter>> MakeImageExporter(const Services& services,
                                                    const Request& request);

}  // namespace kiln::exporter
