#include "cmd/json_values.h"

#include <algorithm>

#include "base/strings.h"

namespace kiln::cmd {
namespace {

using Json = nlohmann::json;

// A line's number, 0 if there is none.
int LineOf(const Json& range, const char* end) {
  const Json& line = FieldOf(FieldOf(range, end), "line");
  const int64_t number = line.is_number_integer() ? line.get<int64_t>() : 0;
  return number < 1 || number > INT32_MAX ? 0 : static_cast<int>(number);
}

}  // namespace

Json ParseJson(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_discarded() ? Json() : json;
}

const Json& FieldOf(const Json& object, const char* key) {
  static const Json kNone;
  if (!object.is_object()) return kNone;
  const auto found = object.find(key);
  return found == object.end() ? kNone : *found;
}

std::string TextOf(const Json& object, const char* key) {
  const Json& value = FieldOf(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

std::string BytesOf(const Json& object, const char* key) {
  return Base64Decode(TextOf(object, key)).value_or(std::string());
}

std::vector<Json> ElementsOf(const Json& object, const char* key) {
  const Json& value = FieldOf(object, key);
  return value.is_array() ? value.get<std::vector<Json>>() : std::vector<Json>();
}

std::vector<dockerfile::LineRange> RangesOf(const Json& location) {
  std::vector<dockerfile::LineRange> lines;
  for (const Json& range : ElementsOf(location, "ranges")) {
    const int first = LineOf(range, "start");
    if (first != 0) lines.push_back({first, std::max(first, LineOf(range, "end"))});
  }
  return lines;
}

}  // namespace kiln::cmd
