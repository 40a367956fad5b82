#include "source/http_answer.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/strings.h"
#include "http/url.h"

namespace kiln::source {
namespace {

// One plain component, or "" if there is none in it.
std::string SafeName(std::string_view name) {
  const size_t slash = name.rfind('/');
  if (slash != std::string_view::npos) name.remove_prefix(slash + 1);
  if (name.empty() || name == "." || name == "..") return {};
  const bool plain = name.size() <= 255 && std::all_of(name.begin(), name.end(), [](char c) {
                       return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
                     });
  return plain ? std::string(name) : "download";
}

std::string PercentDecoded(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte =
        text[i] == '%' && i + 2 < text.size() ? ParseUint(text.substr(i + 1, 2), 16) : std::nullopt;
    result += byte ? static_cast<char>(*byte) : text[i];
    if (byte) i += 2;
  }
  return result;
}

// The parameters of a header like `attachment; filename="a.txt"` (RFC 6266), names in lower case.
std::map<std::string, std::string> Parameters(std::string_view header) {
  std::map<std::string, std::string> result;
  std::vector<std::string> parts(1);
  bool quoted = false;
  for (size_t i = 0; i < header.size(); ++i) {
    if (quoted && header[i] == '\\' && i + 1 < header.size()) {
      parts.back() += header[++i];
    } else if (header[i] == '"') {
      quoted = !quoted;
    } else if (header[i] == ';' && !quoted) {
      parts.emplace_back();
    } else {
      parts.back() += header[i];
    }
  }
  for (const std::string& part : parts) {
    if (const auto pair = Cut(part, "=")) {
      result.emplace(ToLower(Trim(pair->first)), Trim(pair->second));
    }
  }
  return result;
}

std::string DispositionName(const http::Response& response) {
  const auto parameters = Parameters(response.header("Content-Disposition"));
  // filename*=UTF-8''na%20me wins over the plain form.
  if (const auto found = parameters.find("filename*"); found != parameters.end()) {
    const size_t quote = found->second.rfind('\'');
    if (quote != std::string::npos)
      return SafeName(PercentDecoded(std::string_view(found->second).substr(quote + 1)));
  }
  const auto found = parameters.find("filename");
  if (found == parameters.end() || found->second.ends_with('/')) return {};
  return SafeName(found->second);
}

std::string UrlName(const std::string& url) {
  const auto parsed = http::Url::Parse(url);
  return parsed.ok() ? SafeName(PercentDecoded(parsed->path)) : std::string();
}

}  // namespace

std::string HttpFilename(const llb::HttpSource& spec, const http::Response* response) {
  std::string name = SafeName(spec.filename);
  if (name.empty() && response != nullptr) name = DispositionName(*response);
  if (name.empty()) name = UrlName(spec.url);
  return name.empty() ? "download" : name;
}

std::string EtagOf(const http::Response& response) {
  std::string_view etag = Trim(response.header("ETag"));
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  // In a condition that means any.
  if (etag == "*") return {};
  return std::string(etag);
}

}  // namespace kiln::source
