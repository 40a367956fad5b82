#pragma once

#include <cstddef>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"

namespace kiln::cdi {

struct YamlLimits {
  int max_depth = 32;
  size_t max_memory = size_t{32} << 20;  // about, with every alias resolved
};

// The first document of a YAML text (of which JSON is a part) as JSON: plain scalars mean what YAML
// 1.1 says (`on` is true, 0666 an octal number), keys are texts, a key that comes twice is an
// error. Null for a text without a document.
Result<nlohmann::json> ParseYaml(std::string_view text, const YamlLimits& limits = {});

}  // namespace kiln::cdi
