// Image references, as users type them and as graphs carry them.
#include "oci/reference.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "oci/platform.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto reference = kiln::oci::Reference::ParseNormalized(text); reference.ok()) {
    auto again = kiln::oci::Reference::ParseNormalized(reference->ToString());
    CHECK(again.ok() && *again == *reference);
    // No law: as upstream, "docker.io/x.io/y" is shown as "x.io/y", which would parse as another.
    (void)reference->Familiar();
  }
  if (auto reference = kiln::oci::Reference::ParseIdentifier(text); reference.ok()) {
    CHECK(kiln::oci::Reference::ParseNormalized(text).ok());
  }
  return 0;
}
