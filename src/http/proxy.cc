#include "http/proxy.h"

#include <arpa/inet.h>

#include <array>
#include <cstring>
#include <optional>

#include "base/strings.h"

namespace kiln::http {
namespace {

// An address as 16 bytes, IPv4 mapped into IPv6.
std::optional<std::array<uint8_t, 16>> Address(const std::string& text) {
  std::array<uint8_t, 16> bytes{};
  if (inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
  bytes = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (inet_pton(AF_INET, text.c_str(), bytes.data() + 12) == 1) return bytes;
  return std::nullopt;
}

bool InNetwork(const std::string& host, std::string_view network) {
  const auto slash = Cut(network, "/");
  if (!slash) return false;
  const auto address = Address(host);
  const auto base = Address(std::string(slash->first));
  auto bits = ParseInt(slash->second);
  if (!address || !base || !bits || *bits < 0) return false;
  if (slash->first.find(':') == std::string_view::npos) *bits += 96;
  if (*bits > 128) return false;
  for (int64_t i = 0; i < *bits; ++i) {
    const auto byte = static_cast<size_t>(i / 8);
    const int mask = 0x80 >> (i % 8);
    if (((*address)[byte] & mask) != ((*base)[byte] & mask)) return false;
  }
  return true;
}

bool MatchesDomain(std::string_view host, std::string_view pattern) {
  if (pattern.starts_with("*.")) pattern.remove_prefix(1);
  if (pattern.starts_with('.')) {
    return host.size() > pattern.size() &&
           EqualsIgnoreCase(host.substr(host.size() - pattern.size()), pattern);
  }
  if (EqualsIgnoreCase(host, pattern)) return true;
  return host.size() > pattern.size() + 1 &&
         EqualsIgnoreCase(host.substr(host.size() - pattern.size()), pattern) &&
         host[host.size() - pattern.size() - 1] == '.';
}

}  // namespace

ProxySettings ProxySettings::From(const std::function<const char*(const char*)>& get) {
  const auto first = [&](const char* upper, const char* lower) -> std::string {
    for (const char* name : {upper, lower}) {
      const char* value = get(name);
      if (value != nullptr && *value != '\0') return value;
    }
    return {};
  };
  return {first("HTTP_PROXY", "http_proxy"), first("HTTPS_PROXY", "https_proxy"),
          first("NO_PROXY", "no_proxy")};
}

bool ProxySettings::IsExcluded(const Url& url) const {
  for (std::string_view entry : Split(none_, ',')) {
    entry = Trim(entry);
    if (entry.empty()) continue;
    if (entry == "*") return true;
    if (InNetwork(url.host, entry)) return true;
    const bool one_colon =
        entry.find(':') != std::string_view::npos && entry.find(':') == entry.rfind(':');
    if (one_colon) {
      const auto parts = Cut(entry, ":");
      if (parts->second != url.port) continue;
      entry = parts->first;
    }
    if (MatchesDomain(url.host, entry)) return true;
  }
  return false;
}

std::string ProxySettings::For(const Url& url) const {
  const std::string& proxy = url.scheme == "https" ? https_ : http_;
  if (proxy.empty() || IsLoopbackHost(url.host) || IsExcluded(url)) return {};
  return proxy.find("://") == std::string::npos ? "http://" + proxy : proxy;
}

}  // namespace kiln::http
