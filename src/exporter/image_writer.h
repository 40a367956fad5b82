#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "exporter/attributes.h"
#include "exporter/exporter.h"
#include "oci/descriptor.h"

namespace kiln::exporter {

// A layer as it stands in a manifest, and where its bytes are.
struct ImageLayer {
  oci::Descriptor descriptor;
  store::LayerBlob blob;
};

// A whole image, ready to be written anywhere: documents with children before parents, each once.
struct ImageContent {
  std::vector<ImageLayer> layers;  // each digest once
  std::vector<Document> configs;
  std::vector<Document> manifests;  // then the index, if there is one; the last is the root
  oci::Descriptor root;             // annotations of the descriptor included
  // Set if the root is a single manifest.
  std::optional<oci::Descriptor> config;
};

// Makes layer blobs that are missing and assembles manifests. Statuses "exporting layers",
// "exporting manifest …" go to `vertex`. An index is made for map results.
Result<ImageContent> WriteImage(const progress::Activity& activity, const Services& services,
                                const build::BuildResult& result, const ImageAttributes& attributes,
                                const Digest& vertex);

// Response entries that all image-like exporters give: containerimage.digest, .config.digest,
// .descriptor.
std::map<std::string, std::string> ResponseOf(const ImageContent& content);
ExportedImage ImageOf(const ImageContent& content);

}  // namespace kiln::exporter
