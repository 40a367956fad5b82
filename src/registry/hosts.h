#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/message.h"

namespace kiln::registry {

// One [registry."host"] table of the configuration.
struct HostConfig {
  std::vector<std::string> mirrors;  // host[:port][/path] or URL
  std::optional<bool> plain_http;
  std::optional<bool> insecure;  // no verification of certificates
  std::vector<std::string> ca_files;
  std::optional<http::KeyPair> key_pair;
};
// By host as in references ("docker.io"), also for mirrors' own TLS settings.
using HostConfigs = std::map<std::string, HostConfig>;

// Where a registry's API begins.
inline constexpr std::string_view kApiPrefix = "/v2";

// One place that serves a registry's repositories.
struct Endpoint {
  std::string host;    // what credentials are asked for: "registry-1.docker.io", "localhost:5000"
  std::string prefix;  // path before "/<repository>": "/v2" or "/v2/mirror/path"
  std::string ns;      // for mirrors: the registry's name, sent as query "ns"
  http::TlsOptions tls;
  // Schemes in the order to try; the second one only if the first turns out to be wrong for the
  // server.
  std::vector<std::string> schemes;
  // Falling back is right also when nobody listens, because the reference named no port.
  bool fallback_on_refusal = false;
};

enum class Purpose { kPull, kPush };

// The endpoints for a registry in the order to ask: for pulls mirrors first. `insecure` adds plain
// HTTP and drops verification for this use, whatever the configuration says.
Result<std::vector<Endpoint>> EndpointsOf(const HostConfigs& configs, std::string_view domain,
                                          Purpose purpose, bool insecure);

}  // namespace kiln::registry
