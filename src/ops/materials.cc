#include <algorithm>
#include <iterator>

#include <nlohmann/json.hpp>

#include "oci/json.h"
#include "oci/json_fields.h"
#include "oci/platform.h"
#include "ops/source_op.h"

namespace kiln::ops {
namespace {

using source::Material;

struct KindText {
  Material::Kind kind;
  std::string_view text;
};

constexpr KindText kKinds[] = {
    {Material::Kind::kImage, "image"},
    {Material::Kind::kOciLayout, "oci-layout"},
    {Material::Kind::kImageBlob, "image-blob"},
    {Material::Kind::kOciLayoutBlob, "oci-layout-blob"},
    {Material::Kind::kLocal, "local"},
    {Material::Kind::kHttp, "http"},
    {Material::Kind::kGit, "git"},
};

Result<Material> DecodeOne(const nlohmann::json& json) {
  Material material;
  TRY_ASSIGN(oci::JsonFields fields, oci::JsonFields::Of(json, "material"));
  std::string kind;
  std::string platform;
  TRY(fields.String("kind", kind));
  TRY(fields.String("name", material.name));
  TRY(fields.String("digest", material.digest));
  TRY(fields.String("platform", platform));
  const auto* found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                   [&](const KindText& entry) { return entry.text == kind; });
  if (found == std::end(kKinds)) return InvalidArgument("unknown kind of material {}", kind);
  material.kind = found->kind;
  if (!platform.empty()) {
    TRY_ASSIGN(material.platform, oci::ParsePlatform(platform));
  }
  return material;
}

}  // namespace

std::string EncodeMaterials(const std::vector<Material>& materials) {
  oci::JsonWriter json;
  json.BeginArray();
  for (const Material& material : materials) {
    const auto* kind =
        std::find_if(std::begin(kKinds), std::end(kKinds),
                     [&](const KindText& entry) { return entry.kind == material.kind; });
    json.BeginObject();
    json.Key("kind").String(kind->text);
    json.Key("name").String(material.name);
    if (!material.digest.empty()) json.Key("digest").String(material.digest);
    if (material.platform) json.Key("platform").String(oci::FormatAll(*material.platform));
    json.EndObject();
  }
  json.EndArray();
  return json.Take();
}

Result<std::vector<Material>> DecodeMaterials(std::string_view capture) {
  std::vector<Material> materials;
  if (capture.empty()) return materials;
  TRY_ASSIGN(nlohmann::json json, oci::ParseJson(capture, "materials"));
  if (!json.is_array()) return InvalidArgument("materials: not an array");
  for (const nlohmann::json& element : json) {
    TRY_ASSIGN(Material material, DecodeOne(element));
    materials.push_back(std::move(material));
  }
  return materials;
}

}  // namespace kiln::ops
