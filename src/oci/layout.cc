#include "oci/layout.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "oci/json.h"
#include "oci/json_codec.h"
#include "oci/media_type.h"

namespace kiln::oci {
namespace {

std::string_view Annotation(const Descriptor& descriptor, std::string_view key) {
  const auto it = descriptor.annotations.find(std::string(key));
  return it == descriptor.annotations.end() ? std::string_view() : std::string_view(it->second);
}

}  // namespace

std::string LayoutBlobPath(const Digest& digest) { return "blobs/sha256/" + digest.hex(); }

std::string EncodeLayoutMarker() { return R"({"imageLayoutVersion":"1.0.0"})"; }

Status CheckLayoutMarker(std::string_view json) {
  TRY_ASSIGN(const nlohmann::json value,
             ParseJson(json, "oci-layout", {.max_bytes = 4096, .max_depth = 8}));
  TRY_ASSIGN(const JsonFields fields, JsonFields::Of(value, "oci-layout"));
  std::string version;
  TRY(fields.String("imageLayoutVersion", version));
  if (!version.starts_with("1."))
    return InvalidArgument("oci-layout: unsupported imageLayoutVersion \"{}\"", version);
  return OkStatus();
}

std::string EncodeLayoutIndex(const Index& index) {
  JsonWriter writer;
  writer.BeginObject().Key("schemaVersion").Int(2);
  writer.Key("mediaType")
      .String(index.media_type.empty() ? kOciIndex : std::string_view(index.media_type));
  writer.Key("manifests").BeginArray();
  for (const Descriptor& descriptor : index.manifests) Encode(descriptor, writer);
  writer.EndArray();
  if (!index.annotations.empty()) EncodeStringMap("annotations", index.annotations, writer);
  writer.EndObject();
  return writer.Take();
}

std::optional<Descriptor> FindInLayout(const Index& index, std::string_view name) {
  if (name.empty()) {
    if (index.manifests.size() != 1) return std::nullopt;
    return index.manifests.front();
  }
  for (const Descriptor& descriptor : index.manifests) {
    if (Annotation(descriptor, kAnnotationRefName) == name ||
        Annotation(descriptor, kAnnotationImageName) == name ||
        descriptor.digest.ToString() == name) {
      return descriptor;
    }
  }
  return std::nullopt;
}

void PutInLayout(Index& index, Descriptor descriptor, std::string_view name) {
  std::erase_if(index.manifests, [&](const Descriptor& old) {
    const std::string_view old_name = Annotation(old, kAnnotationRefName);
    return old_name.empty() ? old.digest == descriptor.digest : old_name == name;
  });
  if (!name.empty()) descriptor.annotations[std::string(kAnnotationRefName)] = name;
  index.manifests.push_back(std::move(descriptor));
}

}  // namespace kiln::oci
