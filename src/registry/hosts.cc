#include "registry/hosts.h"

#include "base/error.h"
#include "base/strings.h"
#include "http/url.h"

namespace kiln::registry {
namespace {

const HostConfig* Find(const HostConfigs& configs, const std::string& host) {
  const auto it = configs.find(host);
  return it == configs.end() ? nullptr : &it->second;
}

bool NamesPort(std::string_view host) {
  if (host.starts_with('[')) return host.find("]:") != std::string_view::npos;
  return host.find(':') != std::string_view::npos;
}

void SetSchemes(Endpoint& endpoint, const HostConfig* config, bool insecure) {
  const bool loopback = http::IsLoopbackHost(endpoint.host);
  const bool listed = config != nullptr && config->plain_http.has_value();
  const bool plain = listed ? *config->plain_http : loopback;
  const bool unverified = insecure || (config != nullptr && config->insecure.value_or(false));
  endpoint.fallback_on_refusal = !NamesPort(endpoint.host);
  if (unverified) endpoint.tls.verify = false;
  if (insecure || (plain && unverified)) {
    // Whatever answers: HTTPS first.
    endpoint.schemes = {"https", "http"};
  } else if (plain && loopback && !listed) {
    // A registry on this machine speaks plain HTTP, or HTTPS with a certificate nobody signed.
    endpoint.tls.verify = false;
    endpoint.schemes = {"http", "https"};
  } else {
    endpoint.schemes = {plain ? "http" : "https"};
  }
}

Endpoint MakeEndpoint(const HostConfigs& configs, std::string_view host, bool insecure) {
  const HostConfig* config = Find(configs, std::string(host));
  Endpoint endpoint;
  endpoint.host = host == "docker.io" ? "registry-1.docker.io" : std::string(host);
  endpoint.prefix = kApiPrefix;
  if (config != nullptr) {
    endpoint.tls.ca_files = config->ca_files;
    endpoint.tls.client = config->key_pair;
  }
  SetSchemes(endpoint, config, insecure);
  return endpoint;
}

// "host[:port][/path]", or a URL whose scheme then counts.
Result<Endpoint> MirrorEndpoint(const HostConfigs& configs, std::string_view mirror,
                                std::string_view domain) {
  const bool has_scheme = mirror.find("://") != std::string_view::npos;
  const std::string text = has_scheme ? std::string(mirror) : "https://" + std::string(mirror);
  TRY_ASSIGN_CTX(const http::Url url, http::Url::Parse(text), "mirror of {}", domain);
  // As written, with or without the default port: so is the table with the mirror's settings named.
  const size_t begin = text.find("://") + 3;
  const std::string written = text.substr(begin, text.find_first_of("/?#", begin) - begin);
  const std::string host = configs.contains(written) ? written : url.authority();
  Endpoint endpoint = MakeEndpoint(configs, host, /*insecure=*/false);
  if (has_scheme) endpoint.schemes = {url.scheme};
  std::string path = url.path;
  while (path.ends_with('/')) path.pop_back();
  endpoint.prefix = std::string(kApiPrefix) + path;
  endpoint.ns = domain;
  return endpoint;
}

}  // namespace

Result<std::vector<Endpoint>> EndpointsOf(const HostConfigs& configs, std::string_view domain,
                                          Purpose purpose, bool insecure) {
  std::vector<Endpoint> endpoints;
  const HostConfig* config = Find(configs, std::string(domain));
  if (purpose == Purpose::kPull && config != nullptr) {
    for (const std::string& mirror : config->mirrors) {
      TRY_ASSIGN(Endpoint endpoint, MirrorEndpoint(configs, mirror, domain));
      endpoints.push_back(std::move(endpoint));
    }
  }
  endpoints.push_back(MakeEndpoint(configs, domain, insecure));
  return endpoints;
}

}  // namespace kiln::registry
