#pragma once

#include <string>

#include "registry/registry.h"
#include "session/manager.h"
#include "store/layer.h"

namespace kiln::source {

inline constexpr std::string_view kRegistryLocator = "registry";
// A registry that may be talked to in the clear and unverified, as somebody asked with
// `registry.insecure=true`.
inline constexpr std::string_view kInsecureRegistryLocator = "registry-insecure";
inline constexpr std::string_view kLayoutLocator = "oci-layout";

// "docker.io/library/alpine".
store::Locator RegistryLocator(const oci::Reference& reference, bool insecure = false);
// A content store of a client: store id, and the session that has it unless any may.
store::Locator LayoutLocator(const std::string& session_id, const std::string& store_id);

// Layers in registries, for Store::AddBlobSource("registry", …) and, `insecure`, those of the other
// kind.
class RegistryBlobs final : public store::BlobSource {
 public:
  explicit RegistryBlobs(registry::Registry& registry, bool insecure = false)
      : registry_(registry), insecure_(insecure) {}
  Status Fetch(const progress::Activity& activity, const oci::Descriptor& blob,
               const store::Locator& locator, store::BlobWriter& writer) override;

 private:
  registry::Registry& registry_;
  const bool insecure_;
};

// Layers in content stores of clients, for Store::AddBlobSource("oci-layout", …).
class LayoutBlobs final : public store::BlobSource {
 public:
  explicit LayoutBlobs(session::Manager& sessions) : sessions_(sessions) {}
  bool BoundToSessions() const override { return true; }
  Status Fetch(const progress::Activity& activity, const oci::Descriptor& blob,
               const store::Locator& locator, store::BlobWriter& writer) override;

 private:
  session::Manager& sessions_;
};

}  // namespace kiln::source
