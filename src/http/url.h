#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace kiln::http {

// An absolute http or https URL in parts.
struct Url {
  std::string scheme;  // "http" or "https"
  std::string host;    // without brackets for IPv6
  std::string port;    // always set: the scheme's own if the text has none
  std::string path;    // "/…"
  std::string query;   // without "?"

  // A host that looks like a number must be an IPv4 address as people write it, four decimal
  // numbers: of "127.1" or "0x7f000001" programs make other addresses than is written there.
  static Result<Url> Parse(std::string_view text);

  bool has_default_port() const;
  // "host" or "host:port", IPv6 in brackets.
  std::string authority() const;
  // "scheme://authority".
  std::string origin() const;
  std::string ToString() const;

  friend bool operator==(const Url&, const Url&) = default;
};

// "no such host" if a host, with or without a port, is one that Url::Parse refuses: for URLs that
// other programs follow. What is no host at all is left to them.
Status CheckHostName(std::string_view authority);

// Same scheme, host (letter case ignored) and port, whether the port is written or not.
bool SameOrigin(const Url& a, const Url& b);

// `location` (absolute or relative) as seen from `base`.
Result<std::string> ResolveUrl(std::string_view base, std::string_view location);

// For messages and logs: without user info, query and fragment.
std::string RedactUrl(std::string_view url);

// What "user:password@" in a URL means: the value of an Authorization header ("Basic …"), and the
// URL without it.
struct UserInfo {
  std::string authorization;  // "" if the URL has no user info
  std::string url;
};
UserInfo SplitUserInfo(std::string_view url);

// Percent-encodes everything but unreserved characters.
std::string QueryEscape(std::string_view text);
// Appends `name=value` with "?" or "&" as needed.
std::string WithQuery(std::string url, std::string_view name, std::string_view value);

// "localhost", 127.0.0.0/8, ::1; with or without port and brackets.
bool IsLoopbackHost(std::string_view host_and_port);

}  // namespace kiln::http
