#pragma once

// Pieces shared by this module's codecs.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/json.h"
#include "oci/json_fields.h"
#include "oci/platform.h"

namespace kiln::oci {

Status DecodePlatformFields(const JsonFields& fields, Platform& platform);
void EncodePlatform(const Platform& platform, JsonWriter& writer);
void EncodeStrings(std::string_view key, const std::vector<std::string>& values,
                   JsonWriter& writer);
void EncodeStringMap(std::string_view key, const std::map<std::string, std::string>& values,
                     JsonWriter& writer);

}  // namespace kiln::oci
