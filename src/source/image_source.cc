#include "source/image_source.h"

#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "llb/source_key.h"
#include "oci/media_type.h"
#include "source/job_views.h"
#include "store/store.h"

namespace kiln::source {

Status CheckDigest(const ImageSpec& spec, const Digest& top) {
  if (!spec.checksum || *spec.checksum == top) return OkStatus();
  return FailedPrecondition("image digest {} for {} does not match expected checksum {}", top,
                            spec.ref, *spec.checksum);
}

Result<oci::Descriptor> TopOf(const Services& services, const progress::Activity& activity,
                              const ImageOrigin& origin, ImageReader& reader) {
  const store::Locator place = origin.locator();
  const std::string key = Join({"image", place.kind, place.value, origin.name()}, "\n");
  if (auto seen = services.views->Find<oci::Descriptor>(activity, key)) return *std::move(seen);
  TRY_ASSIGN(oci::Descriptor top, reader.ResolveTop(activity));
  return services.views->Keep(activity, key, std::move(top));
}

Result<oci::Descriptor> ImageSource::Top(const progress::Activity& activity) {
  {
    const MutexLock lock(mutex_);
    if (top_) return *top_;
  }
  ImageReader reader(services_.store, services_.clock, *origin_);
  TRY_ASSIGN(oci::Descriptor top, TopOf(services_, activity, *origin_, reader));
  TRY(CheckDigest(spec_, top.digest));
  const MutexLock lock(mutex_);
  // Two askers may have found two things: the first one counts, for keys and content alike.
  if (!top_) top_ = std::move(top);
  return *top_;
}

Result<ImageDocuments> ImageSource::Documents(const progress::Activity& activity) {
  {
    const MutexLock lock(mutex_);
    if (documents_) return *documents_;
  }
  TRY_ASSIGN(const oci::Descriptor top, Top(activity));
  ImageReader reader(services_.store, services_.clock, *origin_);
  TRY_ASSIGN(ImageDocuments documents, reader.Read(activity, top, platform_));
  const MutexLock lock(mutex_);
  if (!documents_) documents_ = std::move(documents);
  return *documents_;
}

Result<std::vector<Digest>> ImageSource::DiffIds(const ImageDocuments& documents) const {
  std::vector<Digest> diff_ids = documents.config.rootfs.diff_ids;
  if (spec_.layer_limit <= 0) return diff_ids;
  const auto limit = static_cast<size_t>(spec_.layer_limit);
  if (limit > diff_ids.size()) {
    return InvalidArgument("layer limit {} is greater than the number of layers in the image {}",
                           spec_.layer_limit, diff_ids.size());
  }
  diff_ids.resize(limit);
  return diff_ids;
}

// Not what the configuration says of its layers: that is checked only when they are unpacked.
Result<SourceKey> ImageSource::Key(const progress::Activity& activity, int /*part*/) {
  TRY_ASSIGN(const oci::Descriptor top, Top(activity));
  SourceKey key;
  key.parts = {{"image", spec_.ref},
               {"platform", oci::Format(platform_)},
               {"digest", top.digest.ToString()}};
  TRY_ASSIGN(const ImageDocuments documents, Documents(activity));
  TRY(DiffIds(documents));
  key.key = llb::ImageManifestKey(top.digest, platform_, spec_.layer_limit).ToString();
  return key;
}

Result<std::vector<store::LazyLayer>> ImageSource::Layers(const ImageDocuments& documents) const {
  const auto& blobs = documents.manifest.layers;
  if (blobs.size() != documents.config.rootfs.diff_ids.size()) {
    return FailedPrecondition("{}: mismatched image rootfs and manifest layers", spec_.ref);
  }
  TRY_ASSIGN(const std::vector<Digest> diff_ids, DiffIds(documents));
  std::vector<store::LazyLayer> layers;
  for (size_t i = 0; i < diff_ids.size(); ++i) {
    if (!oci::IsLayer(blobs[i].media_type)) {
      return FailedPrecondition("{}: {} is no image: layer {} has media type {}", spec_.ref,
                                documents.descriptor.digest, i, blobs[i].media_type);
    }
    store::LazyLayer layer;
    layer.blob = blobs[i];
    layer.diff_id = diff_ids[i];
    layer.locators = {origin_->locator()};
    layer.description = "pulled from " + spec_.ref;
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<store::SnapshotRef> ImageSource::Fetch(const progress::Activity& activity) {
  TRY_ASSIGN(const ImageDocuments documents, Documents(activity));
  TRY_ASSIGN(const std::vector<store::LazyLayer> layers, Layers(documents));
  if (layers.empty()) return store::SnapshotRef();
  store::CommitOptions options;
  options.type = spec_.record_type;
  options.description = "pulled from " + spec_.ref;
  TRY_ASSIGN_CTX(store::SnapshotRef ref, services_.store.ImportChain(layers, {}, options), "{}",
                 spec_.ref);
  return ref;
}

std::optional<Material> ImageSource::material() const {
  const MutexLock lock(mutex_);
  if (!top_) return std::nullopt;
  return Material{.kind = spec_.kind,
                  .name = spec_.ref,
                  .digest = top_->digest.ToString(),
                  .platform = platform_};
}

}  // namespace kiln::source
