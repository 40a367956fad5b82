#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ops/factory.h"
#include "source/source.h"
#include "source/sources.h"

namespace kiln::ops {

// For Factory::Register(llb::OpKind::kSource, …). `sources` outlives the factory's ops. A source
// that is not served is refused by name when its definition is loaded.
OpMaker MakeSourceOps(const Services& services, const source::Sources& sources);

// What a source op's runs leave in solver::RunOutput::capture: JSON, an array of materials. ""
// decodes to none.
std::string EncodeMaterials(const std::vector<source::Material>& materials);
Result<std::vector<source::Material>> DecodeMaterials(std::string_view capture);

}  // namespace kiln::ops
