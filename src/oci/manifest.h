#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/descriptor.h"

namespace kiln::oci {

// Upstream's limit on a manifest or index read from a registry or a layout.
inline constexpr size_t kMaxManifestBytes = size_t{4} << 20;

// OCI image-spec v1.1 image manifest, or Docker image manifest v2 schema 2.
struct Manifest {
  std::string media_type;
  std::string artifact_type;
  Descriptor config;
  std::vector<Descriptor> layers;
  std::optional<Descriptor> subject;
  std::map<std::string, std::string> annotations;

  friend bool operator==(const Manifest&, const Manifest&) = default;
};

// OCI image-spec v1.1 image index, or Docker manifest list.
struct Index {
  std::string media_type;
  std::string artifact_type;
  std::vector<Descriptor> manifests;
  std::optional<Descriptor> subject;
  std::map<std::string, std::string> annotations;

  friend bool operator==(const Index&, const Index&) = default;
};

// Hostile-safe: at most kMaxManifestBytes. Refused: schema 1, documents that mix `manifests` with
// `config` or `layers`.
Result<Manifest> DecodeManifest(std::string_view json);
Result<Index> DecodeIndex(std::string_view json);

// Two-space indentation and upstream's key order; equal values give equal bytes. `layers` and
// `manifests` are always present.
std::string Encode(const Manifest& manifest);
std::string Encode(const Index& index);

// What a document is, by its `mediaType` field, else by its shape: always a type for which IsIndex
// or IsManifest holds (others, schema 1 and mixtures are errors).
Result<std::string> DetectManifestMediaType(std::string_view json);

// The text of the refusal of Docker schema 1 images.
Error SchemaOneRemoved();

}  // namespace kiln::oci
