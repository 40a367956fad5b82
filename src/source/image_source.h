#pragma once

#include <optional>

#include "base/mutex.h"
#include "source/image_origin.h"
#include "source/image_reader.h"
#include "source/source.h"

namespace kiln::source {

// What docker-image:// and oci-layout:// have in common once the origin is known.
struct ImageSpec {
  Material::Kind kind = Material::Kind::kImage;
  std::string ref;
  std::string record_type;
  int64_t layer_limit = 0;  // 0: all
  std::optional<Digest> checksum;
};

// `image digest A for REF does not match expected checksum B`.
Status CheckDigest(const ImageSpec& spec, const Digest& top);

// What the image's name stands for, or stood for when this build asked for the first time.
Result<oci::Descriptor> TopOf(const Services& services, const progress::Activity& activity,
                              const ImageOrigin& origin, ImageReader& reader);

// An image as a snapshot of lazy layers.
class ImageSource final : public Source {
 public:
  ImageSource(const Services& services, ImageSpec spec, oci::Platform platform,
              std::shared_ptr<ImageOrigin> origin)
      : services_(services),
        spec_(std::move(spec)),
        platform_(std::move(platform)),
        origin_(std::move(origin)) {}

  // Part 0 is known from the top digest alone; part 1 needs manifest and config.
  Result<SourceKey> Key(const progress::Activity& activity, int part) override;
  bool shows_key() const override { return true; }
  Result<store::SnapshotRef> Fetch(const progress::Activity& activity) override;
  std::optional<Material> material() const override;

 private:
  Result<oci::Descriptor> Top(const progress::Activity& activity);
  Result<ImageDocuments> Documents(const progress::Activity& activity);
  Result<std::vector<Digest>> DiffIds(const ImageDocuments& documents) const;
  Result<std::vector<store::LazyLayer>> Layers(const ImageDocuments& documents) const;

  const Services services_;
  const ImageSpec spec_;
  const oci::Platform platform_;
  const std::shared_ptr<ImageOrigin> origin_;
  mutable Mutex mutex_;
  std::optional<oci::Descriptor> top_ GUARDED_BY(mutex_);
  std::optional<ImageDocuments> documents_ GUARDED_BY(mutex_);
};

}  // namespace kiln::source
