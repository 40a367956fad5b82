#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/digest.h"
#include "base/result.h"
#include "oci/platform.h"

namespace kiln::oci {

class JsonWriter;

// OCI image-spec v1.1, descriptor.
struct Descriptor {
  std::string media_type;
  Digest digest;
  int64_t size = 0;
  std::vector<std::string> urls;
  std::map<std::string, std::string> annotations;
  // The content itself, base64 as on the wire; rarely set.
  std::string data_base64;
  std::optional<Platform> platform;
  std::string artifact_type;

  friend bool operator==(const Descriptor&, const Descriptor&) = default;
};

// `what` names the descriptor in errors ("image manifest: layers[3]"). Digest and a size ≥ 0 are
// required.
Result<Descriptor> DecodeDescriptor(const nlohmann::json& value, std::string_view what);
// From JSON text on its own (exporter responses, cache keys).
Result<Descriptor> DecodeDescriptor(std::string_view json);
void Encode(const Descriptor& descriptor, JsonWriter& writer);
// Compact JSON.
std::string Encode(const Descriptor& descriptor);

}  // namespace kiln::oci
