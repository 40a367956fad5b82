#include "source/blob_sources.h"

#include "base/error.h"
#include "base/strings.h"
#include "oci/reference.h"
#include "source/layout_content.h"
#include "source/writer_sink.h"

namespace kiln::source {
namespace {

constexpr char kSeparator[] = "/";

// "<session>/<store>"; ids hold no slash.
struct LayoutPlace {
  std::string session_id;
  std::string store_id;
};

LayoutPlace ParseLayoutPlace(const std::string& value) {
  const auto parts = Cut(value, kSeparator);
  if (!parts) return {.session_id = {}, .store_id = value};
  return {.session_id = std::string(parts->first), .store_id = std::string(parts->second)};
}

}  // namespace

store::Locator RegistryLocator(const oci::Reference& reference, bool insecure) {
  return {.kind = std::string(insecure ? kInsecureRegistryLocator : kRegistryLocator),
          .value = reference.name()};
}

store::Locator LayoutLocator(const std::string& session_id, const std::string& store_id) {
  return {.kind = std::string(kLayoutLocator), .value = session_id + kSeparator + store_id};
}

Status RegistryBlobs::Fetch(const progress::Activity& activity, const oci::Descriptor& blob,
                            const store::Locator& locator, store::BlobWriter& writer) {
  TRY_ASSIGN(const oci::Reference reference, oci::Reference::ParseNormalized(locator.value));
  WriterSink sink(writer);
  const registry::Repository repository = registry_.Open(reference, {.insecure = insecure_});
  Status status = repository.FetchBlob(activity, blob, sink);
  if (!status.ok() && status.error().code() == Code::kPermissionDenied) {
    status.error().set_code(Code::kUnauthenticated);
  }
  return status;
}

Status LayoutBlobs::Fetch(const progress::Activity& activity, const oci::Descriptor& blob,
                          const store::Locator& locator, store::BlobWriter& writer) {
  const LayoutPlace place = ParseLayoutPlace(locator.value);
  const LayoutContent content(sessions_, place.session_id, place.store_id);
  WriterSink sink(writer);
  return content.Read(activity, blob, sink);
}

}  // namespace kiln::source
