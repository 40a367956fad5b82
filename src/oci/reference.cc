#include "oci/reference.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::oci {
namespace {

constexpr std::string_view kDefaultDomain = "docker.io";
constexpr std::string_view kLegacyDefaultDomain = "index.docker.io";
constexpr std::string_view kOfficialPrefix = "library/";
constexpr size_t kMaxNameLength = 255;
constexpr size_t kMaxTagLength = 128;

bool IsLowerAlnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool IsAlnum(char c) { return IsLowerAlnum(c) || (c >= 'A' && c <= 'Z'); }
bool IsWord(char c) { return IsAlnum(c) || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

template <typename Predicate>
bool All(std::string_view text, Predicate predicate) {
  return std::all_of(text.begin(), text.end(), predicate);
}

bool HasUpper(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

bool IsHex64(std::string_view text) {
  return text.size() == 64 &&
         All(text, [](char c) { return IsDigit(c) || (c >= 'a' && c <= 'f'); });
}

Error BadFormat(std::string_view text) {
  return InvalidArgument("invalid reference format: {}", Quoted(text, 300));
}

// [a-zA-Z0-9] with dashes inside, joined by dots.
bool IsHostName(std::string_view host) {
  for (const std::string_view label : Split(host, '.')) {
    if (label.empty() || !IsAlnum(label.front()) || !IsAlnum(label.back())) return false;
    if (!All(label, [](char c) { return IsAlnum(c) || c == '-'; })) return false;
  }
  return true;
}

bool IsDomain(std::string_view domain) {
  std::string_view host = domain;
  std::string_view port;
  if (domain.starts_with('[')) {
    const size_t close = domain.find(']');
    if (close == std::string_view::npos) return false;
    const std::string_view address = domain.substr(1, close - 1);
    const auto in_address = [](char c) {
      return IsDigit(c) || (std::isxdigit(static_cast<unsigned char>(c)) != 0) || c == ':';
    };
    if (address.empty() || !All(address, in_address)) return false;
    if (close + 1 == domain.size()) return true;
    if (domain[close + 1] != ':') return false;
    port = domain.substr(close + 2);
    return !port.empty() && All(port, IsDigit);
  }
  const size_t colon = domain.find(':');
  if (colon != std::string_view::npos) {
    host = domain.substr(0, colon);
    port = domain.substr(colon + 1);
    if (port.empty() || !All(port, IsDigit)) return false;
  }
  return IsHostName(host);
}

// Lower-case letters and digits, joined by '.', '_', '__' or dashes.
bool IsPathComponent(std::string_view part) {
  if (part.empty() || !IsLowerAlnum(part.front()) || !IsLowerAlnum(part.back())) return false;
  for (size_t i = 0; i < part.size();) {
    if (IsLowerAlnum(part[i])) {
      ++i;
      continue;
    }
    const char separator = part[i];
    size_t run = 0;
    while (i < part.size() && part[i] == separator) ++i, ++run;
    const bool allowed =
        separator == '-' || (separator == '.' && run == 1) || (separator == '_' && run <= 2);
    if (!allowed || !IsLowerAlnum(part[i])) return false;
  }
  return true;
}

bool IsPath(std::string_view path) {
  const auto parts = Split(path, '/');
  return std::all_of(parts.begin(), parts.end(), IsPathComponent);
}

bool IsTag(std::string_view tag) {
  return !tag.empty() && tag.size() <= kMaxTagLength && IsWord(tag.front()) &&
         All(tag, [](char c) { return IsWord(c) || c == '.' || c == '-'; });
}

struct Parts {
  std::string_view domain;
  std::string_view path;
  std::string_view tag;
  std::string_view digest;
};

// Splits off "@digest" and ":tag"; what is left in `path` is the name.
Parts SplitSuffixes(std::string_view text) {
  Parts parts;
  const size_t at = text.find('@');
  if (at != std::string_view::npos) {
    parts.digest = text.substr(at + 1);
    text = text.substr(0, at);
  }
  const size_t slash = text.rfind('/');
  const size_t colon = text.find(':', slash == std::string_view::npos ? 0 : slash);
  if (colon != std::string_view::npos) {
    parts.tag = text.substr(colon + 1);
    text = text.substr(0, colon);
  }
  parts.path = text;
  return parts;
}

// The part before the first slash is a domain if it looks like one.
bool LooksLikeDomain(std::string_view first) {
  return first.find_first_of(".:") != std::string_view::npos || first == "localhost" ||
         HasUpper(first);
}

// A reference may name the digest of zeros, which Digest takes for none.
std::string TextOf(const Digest& digest) { return "sha256:" + digest.hex(); }

}  // namespace

Result<Reference> Reference::Make(std::string_view domain, std::string_view path) {
  Reference reference;
  if (!IsDomain(domain) || !IsPath(path)) {
    if (IsDomain(domain) && IsPath(ToLower(path))) {
      return InvalidArgument("invalid reference format: repository name ({}) must be lowercase",
                             path);
    }
    return BadFormat(std::string(domain) + "/" + std::string(path));
  }
  if (path.size() > kMaxNameLength) {
    return InvalidArgument("repository name must not be more than {} characters", kMaxNameLength);
  }
  reference.domain_ = domain;
  reference.path_ = path;
  return reference;
}

Result<Reference> Reference::ParseNormalized(std::string_view text) {
  if (IsHex64(text)) {
    return InvalidArgument(
        "invalid repository name ({}), cannot specify 64-byte hexadecimal strings", text);
  }
  Parts parts = SplitSuffixes(text);
  if (parts.path.empty()) return BadFormat(text);
  const size_t slash = parts.path.find('/');
  std::string_view domain = kDefaultDomain;
  std::string path(parts.path);
  std::string_view rest = text;
  if (slash != std::string_view::npos && LooksLikeDomain(parts.path.substr(0, slash))) {
    domain = parts.path.substr(0, slash);
    path = parts.path.substr(slash + 1);
    rest = text.substr(slash + 1);
    if (domain == kLegacyDefaultDomain) domain = kDefaultDomain;
  }
  const bool official = domain == kDefaultDomain && path.find('/') == std::string::npos;
  if (official) path = std::string(kOfficialPrefix) + path;
  // Said first, whatever else is wrong.
  if (rest = rest.substr(0, rest.find(':')); HasUpper(rest)) {
    return InvalidArgument("invalid reference format: repository name ({}{}) must be lowercase",
                           official ? kOfficialPrefix : "", rest);
  }
  TRY_ASSIGN(Reference reference, Make(domain, path));
  const bool has_tag = parts.path.size() < text.size() && text[parts.path.size()] == ':';
  if (has_tag) {
    if (!IsTag(parts.tag)) return BadFormat(text);
    reference.tag_ = parts.tag;
  }
  if (text.find('@') != std::string_view::npos) {
    auto digest = Digest::Parse(parts.digest);
    if (!digest.ok()) return std::move(BadFormat(text).AddContext(digest.error().ToString()));
    reference.digest_ = *digest;
  }
  return reference;
}

Result<Reference> Reference::ParseIdentifier(std::string_view text) {
  const Parts parts = SplitSuffixes(text);
  const size_t slash = parts.path.find('/');
  if (slash == std::string_view::npos) {
    return InvalidArgument("invalid reference {}: hostname required", Quoted(text, 300));
  }
  TRY_ASSIGN(Reference reference, ParseNormalized(text));
  if (reference.tag_.empty() && !reference.digest_) {
    return InvalidArgument("invalid reference {}: object required", Quoted(text, 300));
  }
  if (reference.name() != parts.path) {
    return InvalidArgument("invalid reference {}: not fully qualified, expected {}",
                           Quoted(text, 300), reference.ToString());
  }
  return reference;
}

std::string Reference::object() const {
  if (digest_) return TextOf(*digest_);
  return tag_.empty() ? "latest" : tag_;
}

std::string Reference::ToString() const {
  std::string out = name();
  if (!tag_.empty()) out += ":" + tag_;
  if (digest_) out += "@" + TextOf(*digest_);
  return out;
}

std::string Reference::FamiliarName() const {
  if (domain_ != kDefaultDomain) return name();
  const std::string_view rest = std::string_view(path_).substr(
      path_.starts_with(kOfficialPrefix) &&
              path_.find('/', kOfficialPrefix.size()) == std::string::npos
          ? kOfficialPrefix.size()
          : 0);
  // What would be read as another name ("docker.io/ghcr.io/app", sixty-four hexadecimal digits) has
  // no short form.
  const auto read = ParseNormalized(rest);
  return read.ok() && read->name() == name() ? std::string(rest) : name();
}

std::string Reference::Familiar() const {
  std::string out = FamiliarName();
  if (!tag_.empty()) out += ":" + tag_;
  if (digest_) out += "@" + TextOf(*digest_);
  return out;
}

Reference Reference::WithDefaultTag() const {
  Reference out = *this;
  if (out.tag_.empty() && !out.digest_) out.tag_ = "latest";
  return out;
}

Result<Reference> Reference::WithTag(std::string_view tag) const {
  if (!IsTag(tag)) return InvalidArgument("invalid tag format: {}", Quoted(tag, 200));
  Reference out = *this;
  out.tag_ = tag;
  return out;
}

Reference Reference::WithDigest(const Digest& digest) const {
  Reference out = *this;
  out.digest_ = digest;
  return out;
}

Reference Reference::NameOnly() const {
  Reference out = *this;
  out.tag_.clear();
  out.digest_.reset();
  return out;
}

}  // namespace kiln::oci
