#include "registry/registry.h"

#include <utility>

#include "registry/authorizer.h"
#include "registry/slots.h"

namespace kiln::registry {

Registry::Registry(http::Client& client, const Clock& clock, CredentialProvider* credentials,
                   RegistryOptions options)
    : client_(client),
      clock_(clock),
      options_(std::move(options)),
      authorizer_(std::make_unique<Authorizer>(client, clock, credentials, options_.retry)),
      slots_(std::make_unique<Slots>(options_.max_concurrency)) {}

Registry::~Registry() = default;

Repository Registry::Open(const oci::Reference& reference, RepositoryOptions options) {
  return {this, reference.NameOnly(), options};
}

}  // namespace kiln::registry
