#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kiln::cdi {

// What a YAML text says. What a scalar means is up to who wants it as something.
struct YamlValue {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string text;               // of a scalar
  bool plain = false;             // a scalar without quotes: it may be a number or a boolean
  std::vector<std::string> keys;  // of a map, each once
  std::vector<YamlValue> values;  // of a list; of a map, one for each key
};

struct YamlLimits {
  int max_depth = 32;
  size_t max_memory = size_t{32} << 20;  // about, with every alias resolved
};

// The first document of a YAML text, of which JSON is a part. A key that comes twice is an error.
// Null for a text without a document.
Result<YamlValue> ParseYaml(std::string_view text, const YamlLimits& limits = {});

}  // namespace kiln::cdi
