#include "http/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::http {
namespace {

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using CurlUrl = std::unique_ptr<CURLU, UrlDeleter>;

std::string Part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK || text == nullptr) return {};
  std::string out(text);
  curl_free(text);
  return out;
}

Result<CurlUrl> ParseUrl(std::string_view text) {
  CurlUrl url(curl_url());
  if (text.find('\0') != std::string_view::npos) return InvalidArgument("invalid URL");
  const CURLUcode code = curl_url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), 0);
  if (code != CURLUE_OK) {
    return InvalidArgument("invalid URL {}: {}", Quoted(RedactUrl(text)), curl_url_strerror(code));
  }
  return url;
}

// As written, without user info, port and brackets.
std::string_view WrittenHost(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  url.remove_prefix(scheme + 3);
  url = url.substr(0, url.find_first_of("/?#"));
  if (const size_t at = url.rfind('@'); at != std::string_view::npos) url.remove_prefix(at + 1);
  if (url.starts_with('[')) return url.substr(1, url.find(']') - 1);
  return url.substr(0, url.find(':'));
}

bool IsIpv4(std::string_view host) {
  in_addr address{};
  return inet_pton(AF_INET, std::string(host).c_str(), &address) == 1;
}

// Whether the last label is one that the older notations of IPv4 addresses end with.
bool EndsInNumber(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string_view label = host.substr(host.rfind('.') + 1);
  const bool hex = label.starts_with("0x") || label.starts_with("0X");
  if (hex) label.remove_prefix(2);
  return (hex || !label.empty()) && std::all_of(label.begin(), label.end(), [&](char c) {
           return (c >= '0' && c <= '9') ||
                  (hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
         });
}

// `host` is what libcurl makes of what is written.
Status CheckNumber(std::string_view host, std::string_view written) {
  if (IsIpv4(host) && written == host) return OkStatus();
  if (!IsIpv4(host) && !EndsInNumber(host)) return OkStatus();
  return InvalidArgument("no such host: {} is no IPv4 address of four numbers", Quoted(written));
}

Status CheckHost(std::string_view host, std::string_view text) {
  Status status = CheckNumber(host, WrittenHost(text));
  if (status.ok()) return status;
  return InvalidArgument("invalid URL {}: {}", Quoted(RedactUrl(text)), status.error().message());
}

}  // namespace

Result<Url> Url::Parse(std::string_view text) {
  TRY_ASSIGN(const CurlUrl parsed, ParseUrl(text));
  Url url;
  url.scheme = Part(parsed.get(), CURLUPART_SCHEME);
  if (url.scheme != "http" && url.scheme != "https") {
    return InvalidArgument("invalid URL {}: scheme must be http or https", Quoted(RedactUrl(text)));
  }
  url.host = Part(parsed.get(), CURLUPART_HOST);
  if (url.host.starts_with('[') && url.host.ends_with(']')) {
    url.host = url.host.substr(1, url.host.size() - 2);
  }
  if (url.host.empty()) return InvalidArgument("invalid URL {}: no host", Quoted(RedactUrl(text)));
  TRY(CheckHost(url.host, text));
  url.port = Part(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  url.path = Part(parsed.get(), CURLUPART_PATH);
  if (url.path.empty()) url.path = "/";
  url.query = Part(parsed.get(), CURLUPART_QUERY);
  return url;
}

Status CheckHostName(std::string_view authority) {
  const std::string text = "http://" + std::string(authority);
  const auto url = ParseUrl(text);
  if (!url.ok()) return OkStatus();
  return CheckNumber(Part(url->get(), CURLUPART_HOST), WrittenHost(text));
}

bool Url::has_default_port() const { return port == (scheme == "https" ? "443" : "80"); }

std::string Url::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return has_default_port() ? name : name + ":" + port;
}

std::string Url::origin() const { return scheme + "://" + authority(); }

std::string Url::ToString() const {
  return origin() + path + (query.empty() ? std::string() : "?" + query);
}

bool SameOrigin(const Url& a, const Url& b) {
  return a.scheme == b.scheme && EqualsIgnoreCase(a.host, b.host) && a.port == b.port;
}

Result<std::string> ResolveUrl(std::string_view base, std::string_view location) {
  TRY_ASSIGN(const CurlUrl url, ParseUrl(base));
  if (location.find('\0') != std::string_view::npos) return InvalidArgument("invalid URL");
  const CURLUcode code =
      curl_url_set(url.get(), CURLUPART_URL, std::string(location).c_str(), CURLU_URLENCODE);
  if (code != CURLUE_OK) {
    return InvalidArgument("invalid URL {}: {}", Quoted(RedactUrl(location)),
                           curl_url_strerror(code));
  }
  // A host that the location wrote, which libcurl has rewritten: perhaps to the base's own.
  TRY_ASSIGN(const Url from, Url::Parse(base));
  const std::string host = Part(url.get(), CURLUPART_HOST);
  const bool no_scheme = location.starts_with("//");
  const size_t scheme = location.find("://");
  const bool whole = scheme != std::string_view::npos && scheme < location.find_first_of("/?#");
  if (no_scheme || whole || (host != from.host && host != "[" + from.host + "]")) {
    TRY(CheckHost(host, no_scheme ? "http:" + std::string(location) : std::string(location)));
  }
  std::string text = Part(url.get(), CURLUPART_URL);
  TRY(Url::Parse(text));
  return text;
}

UserInfo SplitUserInfo(std::string_view text) {
  UserInfo result{"", std::string(text)};
  const auto parsed = ParseUrl(text);
  if (!parsed.ok()) return result;
  const size_t begin = text.find("://") + 3;
  const size_t end = std::min(text.find_first_of("/?#", begin), text.size());
  const size_t at = text.substr(0, end).rfind('@');
  if (at == std::string_view::npos || at < begin) return result;
  const std::string user = Part(parsed->get(), CURLUPART_USER, CURLU_URLDECODE);
  const std::string password = Part(parsed->get(), CURLUPART_PASSWORD, CURLU_URLDECODE);
  result.authorization = "Basic " + Base64Encode(user + ":" + password);
  result.url.erase(begin, at + 1 - begin);
  return result;
}

std::string RedactUrl(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return std::string(url);
  const size_t host = scheme + 3;
  const size_t slash = url.find('/', host);
  const std::string_view authority =
      url.substr(host, slash == std::string_view::npos ? slash : slash - host);
  const size_t at = authority.rfind('@');
  if (at == std::string_view::npos) return std::string(url);
  return std::string(url.substr(0, host)) + std::string(url.substr(host + at + 1));
}

std::string QueryEscape(std::string_view text) {
  constexpr std::string_view kUnreserved =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (kUnreserved.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kHex[byte >> 4];
    out += kHex[byte & 0xf];
  }
  return out;
}

std::string WithQuery(std::string url, std::string_view name, std::string_view value) {
  url += url.find('?') == std::string::npos ? '?' : '&';
  url += QueryEscape(name);
  url += '=';
  url += QueryEscape(value);
  return url;
}

bool IsLoopbackHost(std::string_view host_and_port) {
  std::string host(host_and_port);
  if (host.starts_with('[')) {
    host = host.substr(1, host.find(']') - 1);
  } else if (host.find(':') == host.rfind(':')) {
    host = host.substr(0, host.find(':'));
  }
  if (EqualsIgnoreCase(host, "localhost")) return true;
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace kiln::http
