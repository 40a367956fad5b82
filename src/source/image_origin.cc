#include "source/image_origin.h"

#include "base/error.h"
#include "base/strings.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "registry/registry.h"
#include "source/blob_sources.h"
#include "store/store.h"

namespace kiln::source {

Result<registry::Resolved> RegistryOrigin::Resolve(const progress::Activity& activity) const {
  return registry_.Open(reference_).Resolve(activity, reference_.object());
}

Result<std::string> RegistryOrigin::ReadManifest(const progress::Activity& activity,
                                                 const oci::Descriptor& descriptor) const {
  return registry_.Open(reference_).FetchManifest(activity, descriptor);
}

Result<std::string> RegistryOrigin::ReadConfig(const progress::Activity& activity,
                                               const oci::Descriptor& descriptor) const {
  return registry_.Open(reference_).FetchSmallBlob(activity, descriptor, oci::kMaxImageConfigBytes);
}

store::Locator RegistryOrigin::locator() const { return RegistryLocator(reference_); }

Result<bool> ImageOrigin::IsKnown(store::Store& store, const Digest& digest) const {
  const auto [host, repository] = place();
  auto info = store.StatBlob(digest);
  if (!info.ok()) {
    if (info.error().code() == Code::kNotFound) return false;
    return std::move(info).error();
  }
  const auto label = info->labels.find(std::string(store::kDistributionSourceLabel) + host);
  if (label == info->labels.end()) return false;
  for (const std::string_view known : Split(label->second, ',')) {
    if (known == repository) return true;
  }
  return false;
}

Status ImageOrigin::Remember(store::Store& store, const Digest& digest) const {
  const auto [host, repository] = place();
  return store.AddDistributionSource(digest, host, repository);
}

LayoutOrigin::LayoutOrigin(session::Manager& sessions, const llb::OciLayoutSource& spec,
                           oci::Reference reference)
    : reference_(std::move(reference)),
      session_id_(spec.session_id),
      content_(sessions, spec.session_id, "oci:" + spec.store_id) {}

Result<registry::Resolved> LayoutOrigin::Resolve(const progress::Activity& activity) const {
  registry::Resolved resolved;
  resolved.descriptor.digest = *reference_.digest();
  TRY_ASSIGN(std::string text,
             content_.ReadSmall(activity, *reference_.digest(), oci::kMaxManifestBytes));
  TRY_ASSIGN_CTX(resolved.descriptor.media_type, oci::DetectManifestMediaType(text), "{}", name());
  resolved.descriptor.size = static_cast<int64_t>(text.size());
  resolved.content = std::move(text);
  return resolved;
}

Result<std::string> LayoutOrigin::ReadManifest(const progress::Activity& activity,
                                               const oci::Descriptor& descriptor) const {
  return content_.ReadSmall(activity, descriptor.digest, oci::kMaxManifestBytes);
}

Result<std::string> LayoutOrigin::ReadConfig(const progress::Activity& activity,
                                             const oci::Descriptor& descriptor) const {
  return content_.ReadSmall(activity, descriptor.digest, oci::kMaxImageConfigBytes);
}

store::Locator LayoutOrigin::locator() const {
  return LayoutLocator(session_id_, content_.store_id());
}

Result<std::shared_ptr<ImageOrigin>> OriginOf(const Services& services, const llb::SourceId& id) {
  if (const auto* image = std::get_if<llb::ImageSource>(&id)) {
    TRY_ASSIGN(oci::Reference reference, oci::Reference::ParseIdentifier(image->ref));
    return std::shared_ptr<ImageOrigin>(
        std::make_shared<RegistryOrigin>(services.registry, std::move(reference)));
  }
  if (const auto* layout = std::get_if<llb::OciLayoutSource>(&id)) {
    // The name before the digest is the client's own and means nothing to us.
    TRY_ASSIGN(oci::Reference reference, oci::Reference::ParseNormalized(layout->ref));
    if (!reference.digest()) {
      return InvalidArgument("reference {} must have digest", Quoted(layout->ref));
    }
    return std::shared_ptr<ImageOrigin>(
        std::make_shared<LayoutOrigin>(services.sessions, *layout, std::move(reference)));
  }
  return InvalidArgument("not an image source: {}", llb::CanonicalIdentifier(id));
}

}  // namespace kiln::source
