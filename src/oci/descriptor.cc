#include "oci/descriptor.h"

#include "base/error.h"
#include "oci/json.h"
#include "oci/json_codec.h"
#include "oci/json_fields.h"

namespace kiln::oci {

Status DecodePlatformFields(const JsonFields& fields, Platform& platform) {
  TRY(fields.String("architecture", platform.architecture));
  TRY(fields.String("os", platform.os));
  TRY(fields.String("os.version", platform.os_version));
  TRY(fields.Strings("os.features", platform.os_features));
  TRY(fields.String("variant", platform.variant));
  return OkStatus();
}

void EncodePlatform(const Platform& platform, JsonWriter& writer) {
  writer.BeginObject();
  writer.Key("architecture").String(platform.architecture);
  writer.Key("os").String(platform.os);
  if (!platform.os_version.empty()) writer.Key("os.version").String(platform.os_version);
  if (!platform.os_features.empty()) EncodeStrings("os.features", platform.os_features, writer);
  if (!platform.variant.empty()) writer.Key("variant").String(platform.variant);
  writer.EndObject();
}

void EncodeStrings(std::string_view key, const std::vector<std::string>& values,
                   JsonWriter& writer) {
  writer.Key(key).BeginArray();
  for (const std::string& value : values) writer.String(value);
  writer.EndArray();
}

void EncodeStringMap(std::string_view key, const std::map<std::string, std::string>& values,
                     JsonWriter& writer) {
  writer.Key(key).BeginObject();
  for (const auto& [name, value] : values) writer.Key(name).String(value);
  writer.EndObject();
}

Result<Descriptor> DecodeDescriptor(const nlohmann::json& value, std::string_view what) {
  TRY_ASSIGN(const JsonFields fields, JsonFields::Of(value, what));
  Descriptor descriptor;
  TRY(fields.String("mediaType", descriptor.media_type));
  if (!fields.Has("digest")) return InvalidArgument("{}: no digest", what);
  TRY(fields.ParseDigest("digest", descriptor.digest));
  TRY(fields.Int("size", descriptor.size));
  if (descriptor.size < 0) return InvalidArgument("{}: negative size {}", what, descriptor.size);
  TRY(fields.Strings("urls", descriptor.urls));
  TRY(fields.StringMap("annotations", descriptor.annotations));
  TRY(fields.String("data", descriptor.data_base64));
  TRY(fields.String("artifactType", descriptor.artifact_type));
  if (const auto* platform = fields.Find("platform")) {
    TRY_ASSIGN(const JsonFields inner, JsonFields::Of(*platform, fields.what() + ": platform"));
    TRY(DecodePlatformFields(inner, descriptor.platform.emplace()));
  }
  return descriptor;
}

Result<Descriptor> DecodeDescriptor(std::string_view json) {
  TRY_ASSIGN(const nlohmann::json value, ParseJson(json, "descriptor"));
  return DecodeDescriptor(value, "descriptor");
}

void Encode(const Descriptor& descriptor, JsonWriter& writer) {
  writer.BeginObject();
  writer.Key("mediaType").String(descriptor.media_type);
  writer.Key("digest").String(descriptor.digest.ToString());
  writer.Key("size").Int(descriptor.size);
  if (!descriptor.urls.empty()) EncodeStrings("urls", descriptor.urls, writer);
  if (!descriptor.annotations.empty())
    EncodeStringMap("annotations", descriptor.annotations, writer);
  if (!descriptor.data_base64.empty()) writer.Key("data").String(descriptor.data_base64);
  if (descriptor.platform) {
    writer.Key("platform");
    EncodePlatform(*descriptor.platform, writer);
  }
  if (!descriptor.artifact_type.empty())
    writer.Key("artifactType").String(descriptor.artifact_type);
  writer.EndObject();
}

std::string Encode(const Descriptor& descriptor) {
  JsonWriter writer;
  Encode(descriptor, writer);
  return writer.Take();
}

}  // namespace kiln::oci
