#include "oci/manifest.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "oci/json.h"
#include "oci/json_codec.h"
#include "oci/json_fields.h"
#include "oci/media_type.h"

namespace kiln::oci {
namespace {

constexpr JsonLimits kManifestLimits{.max_bytes = kMaxManifestBytes, .max_depth = 32};

Status CheckShape(const JsonFields& fields, bool is_index) {
  if (fields.Has("fsLayers") || fields.Has("signatures")) return SchemaOneRemoved();
  const bool has_manifests = fields.Has("manifests");
  const bool has_image = fields.Has("config") || fields.Has("layers");
  if (has_manifests && has_image) {
    return InvalidArgument(
        "{}: has both manifests and config or layers: an index and an image manifest cannot be one "
        "document",
        fields.what());
  }
  std::string media_type;
  TRY(fields.String("mediaType", media_type));
  if (is_index && (has_image || IsManifest(media_type))) {
    return InvalidArgument("{}: an image manifest, where an index was expected", fields.what());
  }
  if (!is_index && (has_manifests || IsIndex(media_type))) {
    return InvalidArgument("{}: an index, where an image manifest was expected", fields.what());
  }
  return OkStatus();
}

Status DecodeDescriptors(const JsonFields& fields, const char* key, std::vector<Descriptor>& out) {
  const auto* list = fields.Find(key);
  if (list == nullptr) return OkStatus();
  if (!list->is_array())
    return InvalidArgument("{}: field \"{}\" must be an array", fields.what(), key);
  out.reserve(list->size());
  for (const auto& item : *list) {
    TRY_ASSIGN(Descriptor descriptor,
               DecodeDescriptor(item, fmt::format("{}: {}[{}]", fields.what(), key, out.size())));
    out.push_back(std::move(descriptor));
  }
  return OkStatus();
}

// The fields that both documents have.
template <typename Document>
Status DecodeCommon(const JsonFields& fields, Document& document) {
  int64_t schema_version = 2;
  TRY(fields.Int("schemaVersion", schema_version));
  if (schema_version == 1) return SchemaOneRemoved();
  if (schema_version != 2)
    return InvalidArgument("{}: unknown schemaVersion {}", fields.what(), schema_version);
  TRY(fields.String("mediaType", document.media_type));
  TRY(fields.String("artifactType", document.artifact_type));
  TRY(fields.StringMap("annotations", document.annotations));
  if (const auto* subject = fields.Find("subject")) {
    TRY_ASSIGN(document.subject, DecodeDescriptor(*subject, fields.what() + ": subject"));
  }
  return OkStatus();
}

template <typename Document>
void EncodeHead(const Document& document, JsonWriter& writer) {
  writer.BeginObject().Key("schemaVersion").Int(2);
  if (!document.media_type.empty()) writer.Key("mediaType").String(document.media_type);
  if (!document.artifact_type.empty()) writer.Key("artifactType").String(document.artifact_type);
}

template <typename Document>
std::string EncodeTail(const Document& document, JsonWriter& writer) {
  if (document.subject) {
    writer.Key("subject");
    Encode(*document.subject, writer);
  }
  if (!document.annotations.empty()) EncodeStringMap("annotations", document.annotations, writer);
  writer.EndObject();
  return writer.Take();
}

void EncodeDescriptors(std::string_view key, const std::vector<Descriptor>& descriptors,
                       JsonWriter& writer) {
  writer.Key(key);
  if (descriptors.empty()) {  // as upstream says it
    writer.Null();
    return;
  }
  writer.BeginArray();
  for (const Descriptor& descriptor : descriptors) Encode(descriptor, writer);
  writer.EndArray();
}

}  // namespace

Error SchemaOneRemoved() {
  return FailedPrecondition(
      "support Docker Image manifest version 2, schema 1 has been removed. More information at "
      "https://docs.docker.com/go/deprecated-image-specs/");
}

Result<Manifest> DecodeManifest(std::string_view json) {
  TRY_ASSIGN(const nlohmann::json value, ParseJson(json, "image manifest", kManifestLimits));
  TRY_ASSIGN(const JsonFields fields, JsonFields::Of(value, "image manifest"));
  TRY(CheckShape(fields, /*is_index=*/false));
  Manifest manifest;
  TRY(DecodeCommon(fields, manifest));
  const auto* config = fields.Find("config");
  if (config == nullptr) return InvalidArgument("image manifest: no config");
  TRY_ASSIGN(manifest.config, DecodeDescriptor(*config, "image manifest: config"));
  TRY(DecodeDescriptors(fields, "layers", manifest.layers));
  return manifest;
}

Result<Index> DecodeIndex(std::string_view json) {
  TRY_ASSIGN(const nlohmann::json value, ParseJson(json, "image index", kManifestLimits));
  TRY_ASSIGN(const JsonFields fields, JsonFields::Of(value, "image index"));
  TRY(CheckShape(fields, /*is_index=*/true));
  Index index;
  TRY(DecodeCommon(fields, index));
  TRY(DecodeDescriptors(fields, "manifests", index.manifests));
  return index;
}

std::string Encode(const Manifest& manifest) {
  JsonWriter writer(2);
  EncodeHead(manifest, writer);
  writer.Key("config");
  Encode(manifest.config, writer);
  EncodeDescriptors("layers", manifest.layers, writer);
  return EncodeTail(manifest, writer);
}

std::string Encode(const Index& index) {
  JsonWriter writer(2);
  EncodeHead(index, writer);
  EncodeDescriptors("manifests", index.manifests, writer);
  return EncodeTail(index, writer);
}

Result<std::string> DetectManifestMediaType(std::string_view json) {
  TRY_ASSIGN(const nlohmann::json value, ParseJson(json, "manifest", kManifestLimits));
  TRY_ASSIGN(const JsonFields fields, JsonFields::Of(value, "manifest"));
  std::string media_type;
  TRY(fields.String("mediaType", media_type));
  const bool is_index = IsIndex(media_type) || (media_type.empty() && fields.Has("manifests"));
  TRY(CheckShape(fields, is_index));
  if (is_index)
    return media_type.empty() ? std::string(kOciIndex) : std::string(BareMediaType(media_type));
  if (IsManifest(media_type)) return std::string(BareMediaType(media_type));
  if (media_type.empty() && (fields.Has("config") || fields.Has("layers")))
    return std::string(kOciManifest);
  if (media_type.empty())
    return InvalidArgument("manifest: neither an index nor an image manifest");
  return InvalidArgument("manifest: unknown media type {}", media_type);
}

}  // namespace kiln::oci
