#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/result.h"

namespace kiln::oci {

// Typed access to the fields of one JSON object. A field that is absent or null leaves `out` as it
// is; a field of another type is InvalidArgument naming document and field. Heavy header: for .cc
// files only.
class JsonFields {
 public:
  // `value` must outlive this. Fails unless it is an object.
  static Result<JsonFields> Of(const nlohmann::json& value, std::string_view what);

  bool Has(const char* key) const { return Find(key) != nullptr; }
  // The value, or nullptr if absent or null.
  const nlohmann::json* Find(const char* key) const;

  Status String(const char* key, std::string& out) const;
  Status Strings(const char* key, std::vector<std::string>& out) const;
  Status StringMap(const char* key, std::map<std::string, std::string>& out) const;
  // The keys of an object whose values do not matter ({"80/tcp":{}}).
  Status Keys(const char* key, std::set<std::string>& out) const;
  Status Int(const char* key, int64_t& out) const;
  Status Bool(const char* key, bool& out) const;
  Status ParseDigest(const char* key, Digest& out) const;
  Status Digests(const char* key, std::vector<Digest>& out) const;

  const std::string& what() const { return what_; }
  const nlohmann::json& object() const { return *object_; }

 private:
  JsonFields(const nlohmann::json* object, std::string_view what) : object_(object), what_(what) {}
  Error Wrong(const char* key, std::string_view expected) const;

  const nlohmann::json* object_;
  std::string what_;
};

}  // namespace kiln::oci
