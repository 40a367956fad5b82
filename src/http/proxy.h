#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "http/url.h"

namespace kiln::http {

// Proxies with the meaning of HTTP_PROXY, HTTPS_PROXY and NO_PROXY. They may hold passwords: not
// printable.
class ProxySettings {
 public:
  ProxySettings() = default;
  ProxySettings(std::string http, std::string https, std::string none)
      : http_(std::move(http)), https_(std::move(https)), none_(std::move(none)) {}

  // Upper- and lower-case names, upper first as Go does it. `get` is getenv, given by main or a
  // test.
  static ProxySettings From(const std::function<const char*(const char*)>& get);

  // The proxy for that URL; "" for none. Loopback never goes through one.
  std::string For(const Url& url) const;

 private:
  bool IsExcluded(const Url& url) const;

  std::string http_;
  std::string https_;
  std::string none_;
};

}  // namespace kiln::http
