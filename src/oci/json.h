#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"

namespace kiln::oci {

// Limits that are checked on the text, before anything is built from it.
struct JsonLimits {
  size_t max_bytes = size_t{4} << 20;
  int max_depth = 64;
};

// Parses JSON from an untrusted peer. `what` names the document in errors ("image manifest"). Of
// equal keys the last counts. Include <nlohmann/json.hpp> where you use the value; see
// json_fields.h for typed access.
Result<nlohmann::json> ParseJson(std::string_view text, std::string_view what,
                                 JsonLimits limits = {});

// Appends `text` as a JSON string the way Go's encoding/json writes it: <, >, &, U+2028 and U+2029
// escaped, invalid UTF-8 replaced by U+FFFD.
void AppendGoJsonString(std::string& out, std::string_view text);

// Writes JSON in the order the calls come, with Go's escaping; compact, or indented like
// json.MarshalIndent. Unbalanced calls are a programming error.
class JsonWriter {
 public:
  explicit JsonWriter(int indent = 0) : indent_(indent) {}

  JsonWriter& BeginObject();
  JsonWriter& EndObject();
  JsonWriter& BeginArray();
  JsonWriter& EndArray();
  JsonWriter& Key(std::string_view key);
  JsonWriter& String(std::string_view value);
  JsonWriter& Int(int64_t value);
  JsonWriter& Bool(bool value);
  JsonWriter& Null();
  // A whole value: `value` is written again from its tree, keys in the tree's order.
  JsonWriter& Value(const nlohmann::json& value);
  // A whole value that is JSON text already; written as it is.
  JsonWriter& Raw(std::string_view json);

  // The text; the writer is empty afterwards.
  std::string Take();

 private:
  void BeforeValue();
  void NewLine();
  void Begin(char open);
  void End(char close);

  struct Level {
    bool empty = true;
  };
  std::string out_;
  std::vector<Level> levels_;
  int indent_;
  bool after_key_ = false;
};

}  // namespace kiln::oci
