#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kiln::oci {

inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciEmpty = "application/vnd.oci.empty.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kOciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kOciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kDockerIndex =
    "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerManifest =
    "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar";
inline constexpr std::string_view kDockerLayerGzip =
    "application/vnd.docker.image.rootfs.diff.tar.gzip";
inline constexpr std::string_view kDockerLayerZstd =
    "application/vnd.docker.image.rootfs.diff.tar.zstd";

inline constexpr std::string_view kInTotoLayer = "application/vnd.in-toto+json";
inline constexpr std::string_view kBuildKitCacheConfig = "application/vnd.buildkit.cacheconfig.v0";

enum class Compression { kNone, kGzip, kZstd };

// All functions below ignore parameters ("; charset=utf-8").
bool IsIndex(std::string_view media_type);
bool IsManifest(std::string_view media_type);
bool IsImageConfig(std::string_view media_type);
bool IsLayer(std::string_view media_type);
bool IsNonDistributable(std::string_view media_type);

// How a layer's bytes are compressed by its media type; nothing for types that are no known layer.
std::optional<Compression> LayerCompression(std::string_view media_type);
std::string_view LayerMediaType(Compression compression, bool oci, bool non_distributable = false);

// The same document or layer in the other family; other types come back as they are.
std::string_view ToOci(std::string_view media_type);
std::string_view ToDocker(std::string_view media_type);
// A non-distributable layer type as the distributable one; other types as they are.
std::string_view ToDistributable(std::string_view media_type);

// Without parameters and white space: "a/b; charset=utf-8" → "a/b".
std::string_view BareMediaType(std::string_view media_type);

// Annotations, OCI image-spec v1.1 and containerd's.
inline constexpr std::string_view kAnnotationRefName = "org.opencontainers.image.ref.name";
inline constexpr std::string_view kAnnotationCreated = "org.opencontainers.image.created";
inline constexpr std::string_view kAnnotationImageName = "io.containerd.image.name";
inline constexpr std::string_view kAnnotationUncompressed = "containerd.io/uncompressed";
inline constexpr std::string_view kAnnotationCreatedAt = "buildkit/createdat";
inline constexpr std::string_view kAnnotationRewrittenTimestamp = "buildkit/rewritten-timestamp";
inline constexpr std::string_view kAnnotationDistributionSource =
    "containerd.io/distribution.source.";
inline constexpr std::string_view kAnnotationReferenceType = "vnd.docker.reference.type";
inline constexpr std::string_view kAnnotationReferenceDigest = "vnd.docker.reference.digest";
inline constexpr std::string_view kAttestationManifest = "attestation-manifest";

// Annotations that describe our own bookkeeping and stay out of exported manifests.
bool IsInternalAnnotation(std::string_view key);

}  // namespace kiln::oci
