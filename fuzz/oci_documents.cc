// Manifests, indexes, image configs and the marks of layouts, as registries and folders hold them.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "oci/image_config.h"
#include "oci/layout.h"
#include "oci/manifest.h"

namespace {

// What we write, we read back to the same value.
template <typename Decode>
void RoundTrip(std::string_view json, Decode decode) {
  auto value = decode(json);
  if (!value.ok()) return;
  auto again = decode(Encode(*value));
  CHECK(again.ok() && *again == *value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  RoundTrip(json, kiln::oci::DecodeManifest);
  RoundTrip(json, kiln::oci::DecodeIndex);
  RoundTrip(json, kiln::oci::DecodeImageConfig);
  (void)kiln::oci::DetectManifestMediaType(json);
  (void)kiln::oci::CheckLayoutMarker(json);
  if (auto index = kiln::oci::DecodeIndex(json); index.ok()) {
    const auto found = kiln::oci::FindInLayout(*index, "latest");
    if (found) {
      kiln::oci::PutInLayout(*index, *found, "other");
      CHECK(kiln::oci::FindInLayout(*index, "other").has_value());
    }
  }
  return 0;
}
