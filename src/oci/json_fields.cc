#include "oci/json_fields.h"

#include <limits>
#include <utility>

#include "base/error.h"

namespace kiln::oci {

Result<JsonFields> JsonFields::Of(const nlohmann::json& value, std::string_view what) {
  if (!value.is_object()) return InvalidArgument("{} must be a JSON object", what);
  return JsonFields(&value, what);
}

const nlohmann::json* JsonFields::Find(const char* key) const {
  const auto it = object_->find(key);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

Error JsonFields::Wrong(const char* key, std::string_view expected) const {
  return InvalidArgument("{}: field \"{}\" must be {}", what_, key, expected);
}

Status JsonFields::String(const char* key, std::string& out) const {
  const auto* value = Find(key);
  if (value == nullptr) return OkStatus();
  if (!value->is_string()) return Wrong(key, "a string");
  out = value->get_ref<const std::string&>();
  return OkStatus();
}

Status JsonFields::Strings(const char* key, std::vector<std::string>& out) const {
  const auto* value = Find(key);
  if (value == nullptr) return OkStatus();
  if (!value->is_array()) return Wrong(key, "an array of strings");
  std::vector<std::string> strings;
  strings.reserve(value->size());
  for (const auto& item : *value) {
    if (!item.is_string()) return Wrong(key, "an array of strings");
    strings.push_back(item.get_ref<const std::string&>());
  }
  out = std::move(strings);
  return OkStatus();
}

Status JsonFields::StringMap(const char* key, std::map<std::string, std::string>& out) const {
  const auto* value = Find(key);
  if (value == nullptr) return OkStatus();
  if (!value->is_object()) return Wrong(key, "an object of strings");
  std::map<std::string, std::string> strings;
  for (const auto& item : value->items()) {
    if (!item.value().is_string()) return Wrong(key, "an object of strings");
    strings.emplace(item.key(), item.value().get_ref<const std::string&>());
  }
  out = std::move(strings);
  return OkStatus();
}

Status JsonFields::Keys(const char* key, std::set<std::string>& out) const {
  const auto* value = Find(key);
  if (value == nullptr) return OkStatus();
  if (!value->is_object()) return Wrong(key, "an object");
  std::set<std::string> keys;
  for (const auto& item : value->items()) keys.insert(item.key());
  out = std::move(keys);
  return OkStatus();
}

Status JsonFields::Int(const char* key, int64_t& out) const {
  const auto* value = Find(key);
  if (value == nullptr) return OkStatus();
  if (!value->is_number_integer()) return Wrong(key, "an integer");
  if (value->is_number_unsigned() &&
      value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return Wrong(key, "a 64-bit signed integer");
  }
  out = value->get<int64_t>();
  return OkStatus();
}

Status JsonFields::Bool(const char* key, bool& out) const {
  const auto* value = Find(key);
  if (value == nullptr) return OkStatus();
  if (!value->is_boolean()) return Wrong(key, "true or false");
  out = value->get<bool>();
  return OkStatus();
}

Status JsonFields::ParseDigest(const char* key, Digest& out) const {
  const auto* value = Find(key);
  if (value == nullptr) return OkStatus();
  if (!value->is_string()) return Wrong(key, "a digest");
  TRY_ASSIGN_CTX(out, Digest::Parse(value->get_ref<const std::string&>()), "{}: field \"{}\"",
                 what_, key);
  return OkStatus();
}

Status JsonFields::Digests(const char* key, std::vector<Digest>& out) const {
  std::vector<std::string> texts;
  TRY(Strings(key, texts));
  std::vector<Digest> digests;
  digests.reserve(texts.size());
  for (const std::string& text : texts) {
    TRY_ASSIGN_CTX(Digest digest, Digest::Parse(text), "{}: field \"{}\"", what_, key);
    digests.push_back(digest);
  }
  if (Has(key)) out = std::move(digests);
  return OkStatus();
}

}  // namespace kiln::oci
