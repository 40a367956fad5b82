#pragma once

// Inside source only.

#include <optional>
#include <string>
#include <vector>

#include "oci/image_config.h"
#include "oci/manifest.h"
#include "oci/platform.h"
#include "source/image_origin.h"

namespace kiln::source {

// The entries of an index that may run on `matcher`'s platform, best first: those without a
// platform last. At most one with a platform.
std::vector<oci::Descriptor> CandidatesOf(const oci::Index& index,
                                          const oci::PlatformMatcher& matcher);

// One platform's image.
struct ImageDocuments {
  oci::Descriptor descriptor;  // of the manifest
  oci::Manifest manifest;
  oci::ImageConfig config;
  std::string config_json;
};

// Reads an image's documents, from the store where they are there already; keeps there what it had
// to fetch.
class ImageReader {
 public:
  ImageReader(store::Store& store, const Clock& clock, const ImageOrigin& origin)
      : store_(store), clock_(clock), origin_(origin) {}

  // What the name stands for. A name with a digest that the store has from that place asks nobody.
  Result<oci::Descriptor> ResolveTop(const progress::Activity& activity);
  // NotFound `no match for platform in manifest: not found`.
  Result<ImageDocuments> Read(const progress::Activity& activity, const oci::Descriptor& top,
                              const oci::Platform& platform);

 private:
  Result<std::optional<ImageDocuments>> ReadAt(const progress::Activity& activity,
                                               const oci::Descriptor& descriptor,
                                               const oci::PlatformMatcher& matcher,
                                               bool check_config, int depth);
  Result<ImageDocuments> ReadImage(const progress::Activity& activity,
                                   const oci::Descriptor& descriptor,
                                   const std::string& manifest_text);
  Result<std::string> Manifest(const progress::Activity& activity,
                               const oci::Descriptor& descriptor);
  Result<std::string> Config(const progress::Activity& activity, const oci::Descriptor& descriptor);
  Status Keep(const std::string& text, const Digest& digest);

  store::Store& store_;
  const Clock& clock_;
  const ImageOrigin& origin_;
  int manifests_read_ = 0;  // of one image
};

}  // namespace kiln::source
