#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "dockerfile/ast.h"

// JSON that another side wrote, read without trust: what is absent, of another type or makes no
// sense counts as not there. Nothing throws. Heavy header: for .cc files only.
namespace kiln::cmd {

// Null for what is no JSON.
nlohmann::json ParseJson(std::string_view text);

// A value of an object; a null value if there is none.
const nlohmann::json& FieldOf(const nlohmann::json& object, const char* key);
std::string TextOf(const nlohmann::json& object, const char* key);
// Of base64.
std::string BytesOf(const nlohmann::json& object, const char* key);
// The elements of an array; none of anything else.
std::vector<nlohmann::json> ElementsOf(const nlohmann::json& object, const char* key);

// The ranges of a pb.Location: {"ranges": [{"start": {"line": 3}, "end": {"line": 4}}]}. Such as
// have no line are left out.
std::vector<dockerfile::LineRange> RangesOf(const nlohmann::json& location);

}  // namespace kiln::cmd
