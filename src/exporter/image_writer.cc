#include "exporter/image_writer.h"

#include <fmt/chrono.h>

#include <set>

#include "base/log.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "exporter/image_config.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "oci/media_type.h"
#include "store/store.h"

namespace kiln::exporter {
namespace {

// More than this many layers Docker does not load; Podman mounts three more.
constexpr size_t kMostLayersElsewhere = 125;
constexpr std::string_view kAnnotationPrefix = "annotation";

Document MakeDocument(std::string content, std::string_view media_type) {
  Document document;
  document.descriptor.media_type = media_type;
  document.descriptor.digest = Sha256Of(content);
  document.descriptor.size = static_cast<int64_t>(content.size());
  document.content = std::move(content);
  return document;
}

// One platform's part of an image.
struct PlatformImage {
  build::ResultPlatform platform;
  std::optional<int64_t> epoch_seconds;
  std::vector<ImageLayer> layers;
  Document config;
  Document manifest;
};

class Writer {
 public:
  Writer(const progress::Activity& activity, const Services& services,
         const build::BuildResult& result, const ImageAttributes& attributes, const Digest& vertex)
      : activity_(activity),
        services_(services),
        result_(result),
        attributes_(attributes),
        vertex_(vertex) {}

  Result<ImageContent> Run() {
    if (!result_.attestations.empty()) return Unimplemented("exporting attestations is not served");
    TRY_ASSIGN(auto platforms, build::PlatformsOf(result_));
    if (!result_.is_map && platforms.size() > 1)
      return InvalidArgument("cannot export multiple platforms without multi-platform enabled");
    TRY(CollectAnnotations(platforms));
    std::vector<PlatformImage> images(platforms.size());
    for (size_t i = 0; i < images.size(); ++i) {
      images[i].platform = platforms[i];
      TRY_ASSIGN(images[i].epoch_seconds,
                 EffectiveEpoch(attributes_.epoch_seconds, result_, platforms[i].id));
    }
    {
      progress::StatusScope status(activity_, *services_.clock, vertex_, "exporting layers");
      TRY(ForEachParallel(*services_.blocking, kParallelPlatforms, platforms.size(),
                          [&](size_t i) { return ExportLayers(images[i]); }));
    }
    for (auto& image : images) TRY(MakeManifest(image));
    ImageContent content;
    std::set<Digest> seen;
    for (auto& image : images) {
      for (auto& layer : image.layers) {
        if (seen.insert(layer.descriptor.digest).second) content.layers.push_back(layer);
      }
      if (seen.insert(image.config.descriptor.digest).second)
        content.configs.push_back(image.config);
      if (seen.insert(image.manifest.descriptor.digest).second)
        content.manifests.push_back(image.manifest);
    }
    if (result_.is_map) {
      AddIndex(images, content);
    } else {
      content.root = images.front().manifest.descriptor;
      content.config = images.front().config.descriptor;
      content.root.platform = images.front().platform.platform;
      Annotate(content.root, Annotation::Target::kManifestDescriptor,
               &images.front().platform.platform);
    }
    return content;
  }

 private:
  // The exporter's annotations, then the frontend's, which win.
  Status CollectAnnotations(const std::vector<build::ResultPlatform>& platforms) {
    annotations_ = attributes_.annotations;
    for (const auto& [name, value] : result_.metadata) {
      if (!name.starts_with(kAnnotationPrefix)) continue;
      TRY_ASSIGN(auto annotation, ParseAnnotation(name, value));
      if (annotation) annotations_.push_back(std::move(*annotation));
    }
    for (const auto& annotation : annotations_) {
      bool index = annotation.target == Annotation::Target::kIndex ||
                   annotation.target == Annotation::Target::kIndexDescriptor;
      if (index && !result_.is_map) {
        return InvalidArgument("index annotations not supported for single platform export");
      }
      if (!annotation.platform || index || !result_.is_map) continue;
      bool found = false;
      for (const auto& one : platforms)
        found = found || SamePlatform(*annotation.platform, one.platform);
      if (!found) {
        return InvalidArgument("invalid annotation: no platform {} found in source",
                               oci::Format(*annotation.platform));
      }
    }
    return OkStatus();
  }

  static bool SamePlatform(const oci::Platform& a, const oci::Platform& b) {
    return oci::FormatAll(oci::Normalize(a)) == oci::FormatAll(oci::Normalize(b));
  }

  std::map<std::string, std::string> AnnotationsFor(Annotation::Target target,
                                                    const oci::Platform* platform) const {
    std::map<std::string, std::string> found;
    for (const auto& annotation : annotations_) {
      if (annotation.target != target) continue;
      // What is meant for one platform says nothing of an image that stands for none, as upstream
      // has it.
      bool any = !annotation.platform || platform == nullptr;
      if (any || (result_.is_map && SamePlatform(*annotation.platform, *platform)))
        found[annotation.key] = annotation.value;
    }
    return found;
  }

  void Annotate(oci::Descriptor& descriptor, Annotation::Target target,
                const oci::Platform* platform) const {
    for (auto& [key, value] : AnnotationsFor(target, platform)) descriptor.annotations[key] = value;
  }

  // All layers but the base image's are to have no time after the epoch.
  store::LayerBlobOptions::Clamp ClampFor(const PlatformImage& image) const {
    store::LayerBlobOptions::Clamp clamp;
    clamp.epoch_seconds = *image.epoch_seconds;
    const std::string& text = MetadataOf(build::kBaseConfigKey, image);
    if (text.empty()) return clamp;
    if (auto base = oci::DecodeImageConfig(text); base.ok())
      clamp.kept = std::move(base->rootfs.diff_ids);
    return clamp;
  }

  Status ExportLayers(PlatformImage& image) {
    TRY_ASSIGN(const build::ReferencePtr reference, result_.FindExported(image.platform.id));
    if (!reference) return OkStatus();
    store::LayerBlobOptions options = attributes_.layers;
    std::optional<progress::StatusScope> rewriting;
    if (attributes_.rewrite_timestamp && image.epoch_seconds) {
      options.clamp = ClampFor(image);
      rewriting.emplace(
          activity_, *services_.clock, vertex_,
          fmt::format("rewriting layers with source-date-epoch {} ({:%Y-%m-%d %H:%M:%S} +0000 UTC)",
                      *image.epoch_seconds,
                      std::chrono::sys_seconds(std::chrono::seconds(*image.epoch_seconds))));
    } else if (attributes_.rewrite_timestamp) {
      LOG_WARNING("rewrite-timestamp is specified, but no source-date-epoch was found");
    }
    return reference->Use(activity_, false, [&](const store::SnapshotRef& ref) -> Status {
      image.layers.clear();
      if (ref.is_scratch()) return OkStatus();
      TRY_ASSIGN(auto blobs, services_.store->LayerBlobs(activity_, ref, options));
      for (auto& blob : blobs)
        image.layers.push_back({LayerDescriptor(blob.descriptor), std::move(blob)});
      return OkStatus();
    });
  }

  oci::Descriptor LayerDescriptor(const oci::Descriptor& recorded) const {
    oci::Descriptor descriptor;
    std::string_view type = recorded.media_type;
    if (!attributes_.prefer_nondistributable) type = oci::ToDistributable(type);
    descriptor.media_type = attributes_.oci_types ? oci::ToOci(type) : oci::ToDocker(type);
    descriptor.digest = recorded.digest;
    descriptor.size = recorded.size;
    if (oci::IsNonDistributable(descriptor.media_type)) descriptor.urls = recorded.urls;
    if (attributes_.oci_types) {
      for (const auto& [key, value] : recorded.annotations) {
        if (!oci::IsInternalAnnotation(key)) descriptor.annotations[key] = value;
      }
    }
    return descriptor;
  }

  const std::string& MetadataOf(std::string_view key, const PlatformImage& image) const {
    static const std::string kNone;
    if (auto it = attributes_.metadata.find(std::string(key)); it != attributes_.metadata.end())
      return it->second;
    const std::string* found = build::FindMetadata(result_, key, image.platform.id);
    return found != nullptr ? *found : kNone;
  }

  Status MakeManifest(PlatformImage& image) {
    std::vector<store::LayerBlob> blobs;
    for (const auto& layer : image.layers) blobs.push_back(layer.blob);
    if (blobs.size() > kMostLayersElsewhere) WarnOfLayers(blobs.size());
    TRY_ASSIGN(
        std::string config,
        MakeImageConfig(MetadataOf(build::kImageConfigKey, image), image.platform.platform, blobs,
                        MetadataOf(build::kBaseConfigKey, image), image.epoch_seconds));
    image.config = MakeDocument(std::move(config),
                                attributes_.oci_types ? oci::kOciConfig : oci::kDockerConfig);
    oci::Manifest manifest;
    manifest.media_type = attributes_.oci_types ? oci::kOciManifest : oci::kDockerManifest;
    manifest.config = image.config.descriptor;
    for (const auto& layer : image.layers) manifest.layers.push_back(layer.descriptor);
    manifest.annotations = AnnotationsFor(Annotation::Target::kManifest, &image.platform.platform);
    image.manifest = MakeDocument(oci::Encode(manifest), manifest.media_type);
    Report("exporting manifest " + image.manifest.descriptor.digest.ToString());
    Report("exporting config " + image.config.descriptor.digest.ToString());
    return OkStatus();
  }

  void AddIndex(const std::vector<PlatformImage>& images, ImageContent& content) {
    oci::Index index;
    index.media_type = attributes_.oci_types ? oci::kOciIndex : oci::kDockerIndex;
    for (const auto& image : images) {
      oci::Descriptor descriptor = image.manifest.descriptor;
      descriptor.platform = image.platform.platform;
      Annotate(descriptor, Annotation::Target::kManifestDescriptor, &image.platform.platform);
      index.manifests.push_back(std::move(descriptor));
    }
    if (attributes_.oci_types)
      index.annotations = AnnotationsFor(Annotation::Target::kIndex, nullptr);
    content.manifests.push_back(MakeDocument(oci::Encode(index), index.media_type));
    content.root = content.manifests.back().descriptor;
    Annotate(content.root, Annotation::Target::kIndexDescriptor, nullptr);
    Report("exporting manifest list " + content.root.digest.ToString());
  }

  void WarnOfLayers(size_t count) const {
    progress::VertexWarning warning;
    warning.vertex = vertex_;
    warning.short_text =
        fmt::format("the image has {} layers: Docker loads no image with more than {}", count,
                    kMostLayersElsewhere);
    warning.detail = {
        "Podman can load such an image, but not run it. Fewer steps, or a last stage "
        "that copies from the others, make fewer layers."};
    activity_.sink->OnWarning(warning);
  }

  void Report(std::string id) {
    progress::StatusScope status(activity_, *services_.clock, vertex_, std::move(id));
  }

  const progress::Activity& activity_;
  const Services& services_;
  const build::BuildResult& result_;
  const ImageAttributes& attributes_;
  const Digest vertex_;
  std::vector<Annotation> annotations_;
};

}  // namespace

Result<ImageContent> WriteImage(const progress::Activity& activity, const Services& services,
                                const build::BuildResult& result, const ImageAttributes& attributes,
                                const Digest& vertex) {
  return Writer(activity, services, result, attributes, vertex).Run();
}

ExportedImage ImageOf(const ImageContent& content) {
  ExportedImage image{content.root, content.configs};
  image.documents.insert(image.documents.end(), content.manifests.begin(), content.manifests.end());
  return image;
}

std::map<std::string, std::string> ResponseOf(const ImageContent& content) {
  std::map<std::string, std::string> response;
  response["containerimage.digest"] = content.root.digest.ToString();
  response["containerimage.descriptor"] = Base64Encode(oci::Encode(content.root));
  if (content.config) response["containerimage.config.digest"] = content.config->digest.ToString();
  return response;
}

}  // namespace kiln::exporter
