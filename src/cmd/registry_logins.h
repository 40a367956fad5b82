#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "client/build.h"
#include "http/client.h"
#include "registry/hosts.h"

namespace kiln::sys {
class Spawner;
}

namespace kiln::cmd {

// How a build's client comes by what registries want: asks Docker's credential helpers, fetches
// tokens. Outlives the builds it is used by.
class RegistryLogins {
 public:
  // `hosts`: what is configured about registries (certificates of token servers), if anything is.
  RegistryLogins(sys::Spawner& spawner, registry::HostConfigs hosts)
      : spawner_(spawner), hosts_(std::move(hosts)) {}

  // Both may be used from any thread.
  client::DockerConfig::Helper helper();
  client::TokenFetcher fetcher();

 private:
  Result<std::string> Ask(const CancelToken& cancel, const std::string& name,
                          const std::string& host);
  Result<client::FetchedToken> Fetch(const progress::Activity& activity,
                                     const client::WantedToken& wanted,
                                     const client::RegistryLogin& login);
  http::Client& Http();

  sys::Spawner& spawner_;
  const registry::HostConfigs hosts_;
  // Made when first needed: most builds fetch no token.
  std::once_flag once_;
  std::unique_ptr<http::Library> library_;
  std::unique_ptr<http::Client> client_;
};

}  // namespace kiln::cmd
