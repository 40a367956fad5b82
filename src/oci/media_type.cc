#include "oci/media_type.h"

#include <array>

namespace kiln::oci {
namespace {

// One row per layer type that exists in both families. Docker has no non-distributable zstd type:
// the gzip row's name is used nowhere for it, ToDocker leaves the OCI name.
struct LayerType {
  std::string_view oci;
  std::string_view docker;
  Compression compression;
  bool non_distributable;
};

constexpr std::array<LayerType, 6> kLayers = {{
    {kOciLayer, kDockerLayer, Compression::kNone, false},
    {kOciLayerGzip, kDockerLayerGzip, Compression::kGzip, false},
    {kOciLayerZstd, kDockerLayerZstd, Compression::kZstd, false},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar",
     "application/vnd.docker.image.rootfs.foreign.diff.tar", Compression::kNone, true},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
     "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Compression::kGzip, true},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
     "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", Compression::kZstd, true},
}};

struct Pair {
  std::string_view oci;
  std::string_view docker;
};

constexpr std::array<Pair, 3> kDocuments = {{
    {kOciIndex, kDockerIndex},
    {kOciManifest, kDockerManifest},
    {kOciConfig, kDockerConfig},
}};

const LayerType* FindLayer(std::string_view media_type) {
  const std::string_view bare = BareMediaType(media_type);
  for (const LayerType& layer : kLayers) {
    if (bare == layer.oci || bare == layer.docker) return &layer;
  }
  return nullptr;
}

}  // namespace

std::string_view BareMediaType(std::string_view media_type) {
  media_type = media_type.substr(0, media_type.find(';'));
  while (media_type.ends_with(' ')) media_type.remove_suffix(1);
  while (media_type.starts_with(' ')) media_type.remove_prefix(1);
  return media_type;
}

bool IsIndex(std::string_view media_type) {
  const std::string_view bare = BareMediaType(media_type);
  return bare == kOciIndex || bare == kDockerIndex;
}

bool IsManifest(std::string_view media_type) {
  const std::string_view bare = BareMediaType(media_type);
  return bare == kOciManifest || bare == kDockerManifest;
}

bool IsImageConfig(std::string_view media_type) {
  const std::string_view bare = BareMediaType(media_type);
  return bare == kOciConfig || bare == kDockerConfig;
}

bool IsLayer(std::string_view media_type) { return FindLayer(media_type) != nullptr; }

bool IsNonDistributable(std::string_view media_type) {
  const LayerType* layer = FindLayer(media_type);
  return layer != nullptr && layer->non_distributable;
}

std::optional<Compression> LayerCompression(std::string_view media_type) {
  const LayerType* layer = FindLayer(media_type);
  if (layer == nullptr) return std::nullopt;
  return layer->compression;
}

std::string_view LayerMediaType(Compression compression, bool oci, bool non_distributable) {
  for (const LayerType& layer : kLayers) {
    if (layer.compression == compression && layer.non_distributable == non_distributable) {
      return oci ? layer.oci : layer.docker;
    }
  }
  return kOciLayer;
}

std::string_view ToOci(std::string_view media_type) {
  if (const LayerType* layer = FindLayer(media_type)) return layer->oci;
  for (const Pair& pair : kDocuments) {
    if (BareMediaType(media_type) == pair.docker) return pair.oci;
  }
  return media_type;
}

std::string_view ToDocker(std::string_view media_type) {
  if (const LayerType* layer = FindLayer(media_type)) return layer->docker;
  for (const Pair& pair : kDocuments) {
    if (BareMediaType(media_type) == pair.oci) return pair.docker;
  }
  return media_type;
}

std::string_view ToDistributable(std::string_view media_type) {
  const LayerType* layer = FindLayer(media_type);
  if (layer == nullptr || !layer->non_distributable) return media_type;
  return LayerMediaType(layer->compression, BareMediaType(media_type) == layer->oci);
}

bool IsInternalAnnotation(std::string_view key) {
  return key == kAnnotationUncompressed || key == kAnnotationCreatedAt ||
         key.starts_with(kAnnotationDistributionSource);
}

}  // namespace kiln::oci
