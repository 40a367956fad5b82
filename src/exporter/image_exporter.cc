#include "exporter/image_exporter.h"

#include "base/parallel.h"
#include "base/strings.h"
#include "exporter/blob_body.h"
#include "exporter/image_writer.h"
#include "oci/media_type.h"
#include "oci/reference.h"
#include "progress/vertex_sink.h"
#include "registry/registry.h"
#include "store/store.h"

namespace kiln::exporter {
namespace {

constexpr size_t kParallelUploads = 4;
constexpr size_t kParallelFetches = 4;
constexpr std::string_view kRegistryKind = "registry";
constexpr std::string_view kInsecureRegistryKind = "registry-insecure";

struct ImageOptions {
  bool push = false;
  bool by_digest = false;
  bool insecure = false;
  // The kept image shall have its layers here: as blobs, unpacked.
  bool store = false;
  bool unpack = false;
  std::string dangling_prefix;
  bool dangling_empty_only = false;
};

Status CheckPushName(const oci::Reference& reference, bool by_digest) {
  if (!by_digest || reference.tag().empty()) return OkStatus();
  return InvalidArgument("can't push tagged ref {} by digest", reference.ToString());
}

class ImageExporter final : public Exporter {
 public:
  ImageExporter(const Services& services, ImageAttributes attributes, ImageOptions options)
      : services_(services), attributes_(std::move(attributes)), options_(std::move(options)) {}

  std::string name() const override { return "exporting to image"; }

  Result<Exported> Export(const progress::Activity& activity, const build::BuildResult& result,
                          const Digest& vertex) override {
    TRY_ASSIGN(auto content, WriteImage(activity, services_, result, attributes_, vertex));
    std::vector<std::string> names = NamesOf(result, content.root.digest);
    TRY(Keep(activity, result, content, vertex));
    Exported exported;
    exported.response = ResponseOf(content);
    exported.image = ImageOf(content);
    if (!names.empty()) exported.response["image.name"] = Join(names, ",");
    // Who names nothing gets nothing pushed, as with upstream.
    if (options_.push && !names.empty()) {
      auto shared = std::make_shared<ImageContent>(std::move(content));
      exported.finalize = [this, shared, names, vertex](const progress::Activity& later) -> Status {
        const progress::Activity shown = progress::OnBehalfOf(later, vertex);
        for (const auto& one : names)
          TRY_CTX(Push(shown, *shared, one, vertex), "failed to push {}", one);
        return OkStatus();
      };
    }
    return exported;
  }

 private:
  std::vector<std::string> NamesOf(const build::BuildResult& result, const Digest& digest) const {
    std::vector<std::string> names = attributes_.names;
    if (auto it = result.metadata.find("image.name");
        attributes_.name_from_metadata && it != result.metadata.end()) {
      for (auto part : Split(it->second, ',')) names.emplace_back(part);
    }
    bool dangling =
        !options_.dangling_prefix.empty() && (names.empty() || !options_.dangling_empty_only);
    if (dangling) names.push_back(options_.dangling_prefix + "@" + digest.ToString());
    return names;
  }

  // Lazy layers are fetched and unpacked where that was asked for.
  Status Keep(const progress::Activity& activity, const build::BuildResult& result,
              const ImageContent& content, const Digest& vertex) {
    if (options_.store) {
      progress::StatusScope status(activity, *services_.clock, vertex, "storing layers");
      TRY(ForEachParallel(
          *services_.blocking, kParallelFetches, content.layers.size(), [&](size_t i) -> Status {
            auto blob = services_.store->EnsureBlob(activity, content.layers[i].blob);
            return blob.ok() ? OkStatus() : Status(std::move(blob).error());
          }));
    }
    if (!options_.unpack) return OkStatus();
    progress::StatusScope status(activity, *services_.clock, vertex, "unpacking layers");
    for (const auto& reference : result.AllReferences()) {
      TRY(reference->Use(activity, true, [](const store::SnapshotRef&) { return OkStatus(); }));
    }
    return OkStatus();
  }

  Status Push(const progress::Activity& activity, const ImageContent& content,
              const std::string& name, const Digest& vertex) {
    TRY_ASSIGN(auto reference, oci::Reference::ParseNormalized(name));
    TRY(CheckPushName(reference, options_.by_digest));
    if (!options_.by_digest) reference = reference.WithDefaultTag();
    auto repository = services_.registry->Open(reference, {.insecure = options_.insecure});
    {
      progress::StatusScope status(activity, *services_.clock, vertex, "pushing layers");
      TRY(PushBlobs(activity, content, repository, vertex));
    }
    std::string target = reference.ToString();
    if (!target.ends_with("@" + content.root.digest.ToString()))
      target += "@" + content.root.digest.ToString();
    progress::StatusScope status(activity, *services_.clock, vertex,
                                 "pushing manifest for " + target);
    for (size_t i = 0; i < content.manifests.size(); ++i) {
      const auto& manifest = content.manifests[i];
      bool root = i + 1 == content.manifests.size();
      std::string tag = root && !options_.by_digest ? reference.tag() : "";
      TRY(repository.PushManifest(activity, manifest.descriptor, manifest.content, tag));
    }
    return OkStatus();
  }

  Status PushBlobs(const progress::Activity& activity, const ImageContent& content,
                   const registry::Repository& repository, const Digest& vertex) {
    size_t layers = content.layers.size();
    return ForEachParallel(*services_.blocking, kParallelUploads, layers + content.configs.size(),
                           [&](size_t i) {
                             if (i < layers)
                               return PushLayer(activity, content.layers[i], repository, vertex);
                             const Document& config = content.configs[i - layers];
                             http::StringSource body(config.content);
                             return repository.PushBlob(activity, config.descriptor, body);
                           });
  }

  Status PushLayer(const progress::Activity& activity, const ImageLayer& layer,
                   const registry::Repository& repository, const Digest& vertex) {
    if (oci::IsNonDistributable(layer.descriptor.media_type)) return OkStatus();
    progress::StatusScope status(activity, *services_.clock, vertex,
                                 layer.descriptor.digest.ToString());
    BlobBody body(activity, *services_.store, layer.blob);
    TRY_CTX(repository.PushBlob(activity, layer.descriptor, body,
                                MountCandidates(layer.blob, repository)),
            "failed to push layer {}", layer.descriptor.digest);
    store::Locator place{std::string(options_.insecure ? kInsecureRegistryKind : kRegistryKind),
                         repository.host() + "/" + repository.path()};
    return services_.store->AddLocator(layer.descriptor.digest, place);
  }

  // Repositories of the same registry where the blob is known to lie.
  static std::vector<std::string> MountCandidates(const store::LayerBlob& blob,
                                                  const registry::Repository& repository) {
    std::vector<std::string> candidates;
    std::string host = repository.host() + "/";
    for (const auto& locator : blob.locators) {
      const bool registry = locator.kind == kRegistryKind || locator.kind == kInsecureRegistryKind;
      if (registry && locator.value.starts_with(host)) {
        candidates.push_back(locator.value.substr(host.size()));
      }
    }
    return candidates;
  }

  const Services services_;
  const ImageAttributes attributes_;
  const ImageOptions options_;
};

}  // namespace

Result<std::unique_ptr<Exporter>> MakeImageExporter(const Services& services,
                                                    const Request& request) {
  auto attrs = request.attrs;
  ImageOptions options;
  TRY_ASSIGN(options.push, TakeBool(attrs, "push", false, true));
  TRY_ASSIGN(options.by_digest, TakeBool(attrs, "push-by-digest", false, true));
  TRY_ASSIGN(options.insecure, TakeBool(attrs, "registry.insecure", false, true));
  TRY_ASSIGN(options.unpack, TakeBool(attrs, "unpack", false, true));
  TRY_ASSIGN(options.store, TakeBool(attrs, "store", false, true));
  TRY_ASSIGN(options.dangling_empty_only, TakeBool(attrs, "danging-name-empty-only", false, true));
  // Of names in an image store, which there is not beside the cache, as with upstream's OCI worker.
  TRY(TakeBool(attrs, "name-canonical", false, true));
  if (auto node = attrs.extract("dangling-name-prefix"))
    options.dangling_prefix = std::move(node.mapped());
  TRY_ASSIGN(auto attributes, ParseImageAttributes(request, attrs, {}));
  for (const auto& name : attributes.names) {
    TRY_ASSIGN_CTX(auto reference, oci::Reference::ParseNormalized(name), "failed to parse {}",
                   name);
    if (options.push) TRY(CheckPushName(reference, options.by_digest));
  }
  return std::unique_ptr<Exporter>(
      std::make_unique<ImageExporter>(services, std::move(attributes), std::move(options)));
}

}  // namespace kiln::exporter
