#include "llb/source_id.h"

#include <cctype>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "llb/git_url.h"
#include "oci/json.h"

namespace kiln::llb {
namespace {

using Attrs = std::map<std::string, std::string>;

const std::string* Find(const Attrs& attrs, const char* name) {
  auto found = attrs.find(name);
  return found == attrs.end() ? nullptr : &found->second;
}

std::string Text(const Attrs& attrs, const char* name) {
  const std::string* value = Find(attrs, name);
  return value ? *value : std::string();
}

bool IsTrue(const Attrs& attrs, const char* name) { return Text(attrs, name) == "true"; }

Result<ResolveMode> ParseResolveMode(const std::string& text) {
  if (text.empty() || text == "default") return ResolveMode::kDefault;
  if (text == "pull") return ResolveMode::kPull;
  if (text == "local") return ResolveMode::kLocal;
  return Unknown("invalid resolvemode: {}", text);
}

Result<RecordType> ParseRecordType(const std::string& text) {
  if (text.empty() || text == "regular") return RecordType::kRegular;
  if (text == "internal") return RecordType::kInternal;
  if (text == "frontend") return RecordType::kFrontend;
  return Unknown("invalid image.recordtype: {}", text);
}

Result<int64_t> ParseLayerLimit(const Attrs& attrs, const char* name) {
  const std::string* text = Find(attrs, name);
  if (!text) return int64_t{0};
  auto limit = ParseInt(*text);
  if (!limit || *limit <= 0 || *limit > INT32_MAX) return Unknown("invalid layer limit {}", *text);
  return *limit;
}

// "0644", "0x1a4" or "420", as C reads it.
Result<std::optional<uint32_t>> ParseCInt(const Attrs& attrs, const char* name) {
  const std::string* text = Find(attrs, name);
  if (!text) return std::optional<uint32_t>();
  std::string digits = ToLower(*text);
  int base = 10;
  if (digits.starts_with("0x")) {
    base = 16;
    digits.erase(0, 2);
  } else if (digits.starts_with("0o")) {
    base = 8;
    digits.erase(0, 2);
  } else if (digits.size() > 1 && digits[0] == '0') {
    base = 8;
    digits.erase(0, 1);
  }
  auto number = ParseUint(digits, base);
  if (!number || *number > UINT32_MAX) return Unknown("invalid {}: {}", name, Quoted(*text));
  return std::optional<uint32_t>(static_cast<uint32_t>(*number));
}

Result<std::vector<std::string>> ParseStrings(const Attrs& attrs, const char* name) {
  std::vector<std::string> result;
  const std::string* text = Find(attrs, name);
  if (!text || text->empty()) return result;
  TRY_ASSIGN(nlohmann::json json, oci::ParseJson(*text, name));
  if (json.is_null()) return result;
  if (!json.is_array()) return Unknown("invalid {}: not a JSON array of strings", name);
  for (const nlohmann::json& element : json) {
    if (!element.is_string()) return Unknown("invalid {}: not a JSON array of strings", name);
    result.push_back(element.get<std::string>());
  }
  return result;
}

std::string PrintStrings(const std::vector<std::string>& values) {
  oci::JsonWriter writer;
  writer.BeginArray();
  for (const std::string& value : values) writer.String(value);
  writer.EndArray();
  return writer.Take();
}

Result<SourceId> ParseImage(std::string_view rest, const Attrs& attrs) {
  ImageSource image;
  image.ref = rest;
  TRY_ASSIGN(image.resolve_mode, ParseResolveMode(Text(attrs, "image.resolvemode")));
  TRY_ASSIGN(image.record_type, ParseRecordType(Text(attrs, "image.recordtype")));
  TRY_ASSIGN(image.layer_limit, ParseLayerLimit(attrs, "image.layerlimit"));
  if (const std::string* checksum = Find(attrs, "image.checksum")) {
    TRY_ASSIGN_CTX(image.checksum, Digest::Parse(*checksum), "invalid image.checksum");
  }
  return SourceId(std::move(image));
}

Result<SourceId> ParseOciLayout(std::string_view rest, const Attrs& attrs) {
  OciLayoutSource layout;
  layout.ref = rest;
  layout.session_id = Text(attrs, "oci.session");
  layout.store_id = Text(attrs, "oci.store");
  TRY_ASSIGN(layout.layer_limit, ParseLayerLimit(attrs, "oci.layerlimit"));
  return SourceId(std::move(layout));
}

Result<SourceId> ParseBlob(bool oci_layout, std::string_view rest, const Attrs& attrs) {
  BlobSource blob;
  blob.oci_layout = oci_layout;
  blob.ref = rest;
  blob.session_id = Text(attrs, "oci.session");
  blob.store_id = Text(attrs, "oci.store");
  blob.filename = Text(attrs, "http.filename");
  TRY_ASSIGN(blob.record_type, ParseRecordType(Text(attrs, "image.recordtype")));
  TRY_ASSIGN(auto mode, ParseCInt(attrs, "http.perm"));
  TRY_ASSIGN(auto uid, ParseCInt(attrs, "http.uid"));
  TRY_ASSIGN(auto gid, ParseCInt(attrs, "http.gid"));
  blob.mode = mode.value_or(0600);
  blob.uid = uid.value_or(0);
  blob.gid = gid.value_or(0);
  return SourceId(std::move(blob));
}

std::string PathOf(const GitUrl& url) { return JoinPath("/", url.path); }

std::string_view WithoutGit(std::string_view path) {
  if (path.ends_with(".git")) path.remove_suffix(4);
  return path;
}

std::string EscapePath(std::string_view path) {
  std::string out;
  for (const char c : path) {
    const bool plain = isalnum(static_cast<unsigned char>(c)) != 0 ||
                       std::string_view("/-._~!$&'()*+,;=:@").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// `git.fullurl` says how to reach the repository that the identifier names, and as whom; no other
// repository. It is never shown: it may hold a password.
Result<std::string> RemoteOf(const GitUrl& named, const std::string& full_url) {
  const auto full = ParseGitUrl(WithGitTransport(full_url));
  if (!full.ok()) return Unknown("failed to parse git.fullurl");
  const std::string path = PathOf(named);
  if (!EqualsIgnoreCase(full->host, named.host) || WithoutGit(PathOf(*full)) != WithoutGit(path)) {
    return Unknown("git.fullurl does not match source identifier");
  }
  if (PathOf(*full) == path) return full->remote;
  const size_t scheme = full->remote.find("://");
  if (scheme != std::string::npos)
    return full->remote.substr(0, full->remote.find('/', scheme + 3)) + EscapePath(path);
  const bool absolute = full->path.starts_with('/');
  return full->remote.substr(0, full->remote.find(':') + 1) + (absolute ? path : path.substr(1));
}

Result<SourceId> ParseGit(std::string_view rest, const Attrs& attrs) {
  TRY_ASSIGN(GitUrl url, ParseGitUrl(WithGitTransport(rest)));
  GitSource git;
  git.remote = url.remote;
  git.ref = url.ref;
  git.subdir = url.subdir;
  if (const std::string* full = Find(attrs, "git.fullurl")) {
    TRY_ASSIGN(git.remote, RemoteOf(url, *full));
  }
  git.keep_git_dir = IsTrue(attrs, "git.keepgitdir");
  git.checksum = Text(attrs, "git.checksum");
  for (char c : git.checksum)
    if (!isxdigit(static_cast<unsigned char>(c)))
      return Unknown("invalid checksum {} for Git URL, expected hex commit hash", git.checksum);
  git.skip_submodules = IsTrue(attrs, "git.skipsubmodules");
  git.mtime = Text(attrs, "git.mtime");
  git.fetch_by_commit = IsTrue(attrs, "git.fetchbycommit");
  git.auth_header_secret = Text(attrs, "git.authheadersecret");
  git.auth_token_secret = Text(attrs, "git.authtokensecret");
  git.ssh_id = Text(attrs, "git.mountsshsock");
  git.known_ssh_hosts = Text(attrs, "git.knownsshhosts");
  for (const auto& [name, value] : attrs)
    if (name == "git.bundle" || name == "git.checkoutbundle" || name.starts_with("git.sig."))
      git.other[name] = value;
  if (git.ref.starts_with('-')) return Unknown("invalid git ref {}", Quoted(git.ref));
  return SourceId(std::move(git));
}

Result<SourceId> ParseHttp(std::string_view identifier, const Attrs& attrs) {
  static constexpr std::string_view kHeader = "http.header.";
  HttpSource http;
  http.url = identifier;
  if (const std::string* checksum = Find(attrs, "http.checksum")) {
    TRY_ASSIGN_CTX(http.checksum, Digest::Parse(*checksum), "invalid http.checksum");
  }
  http.filename = Text(attrs, "http.filename");
  TRY_ASSIGN(http.mode, ParseCInt(attrs, "http.perm"));
  TRY_ASSIGN(auto uid, ParseCInt(attrs, "http.uid"));
  TRY_ASSIGN(auto gid, ParseCInt(attrs, "http.gid"));
  http.uid = uid.value_or(0);
  http.gid = gid.value_or(0);
  http.auth_header_secret = Text(attrs, "http.authheadersecret");
  for (const auto& [name, value] : attrs) {
    if (name.starts_with("http.sig.")) http.other[name] = value;
    if (!name.starts_with(kHeader)) continue;
    std::string header = ToLower(name.substr(kHeader.size()));
    if (header == "accept" || header == "user-agent") http.headers[header] = value;
  }
  return SourceId(std::move(http));
}

Result<SourceId> ParseLocal(std::string_view rest, const Attrs& attrs) {
  LocalSource local;
  local.name = rest;
  local.session_id = Text(attrs, "local.session");
  if (auto prefixed = Cut(local.session_id, ":")) {
    local.name = std::string(prefixed->first) + "-" + local.name;
    local.session_id = std::string(prefixed->second);
  }
  local.unique_id = Text(attrs, "local.unique");
  TRY_ASSIGN(local.include_patterns, ParseStrings(attrs, "local.includepattern"));
  TRY_ASSIGN(local.exclude_patterns, ParseStrings(attrs, "local.excludepatterns"));
  TRY_ASSIGN(local.follow_paths, ParseStrings(attrs, "local.followpaths"));
  local.shared_key_hint = Text(attrs, "local.sharedkeyhint");
  local.differ = Text(attrs, "local.differ") == "none" ? Differ::kNone : Differ::kMetadata;
  if (const std::string* text = Find(attrs, "local.metadatatransfer")) {
    auto value = ParseBool(*text);
    if (!value) return Unknown("invalid local.metadatatransfer {}", Quoted(*text));
    local.metadata_only = *value;
  }
  TRY_ASSIGN(local.metadata_exceptions, ParseStrings(attrs, "local.metadatatransferexclude"));
  return SourceId(std::move(local));
}

void Put(SourceSpec& spec, const char* name, const std::string& value) {
  if (!value.empty()) spec.attrs[name] = value;
}

void PutStrings(SourceSpec& spec, const char* name, const std::vector<std::string>& values) {
  if (!values.empty()) spec.attrs[name] = PrintStrings(values);
}

void PutLimit(SourceSpec& spec, const char* name, int64_t limit) {
  if (limit > 0) spec.attrs[name] = std::to_string(limit);
}

void PutId(SourceSpec& spec, const char* name, uint32_t id) {
  if (id != 0) spec.attrs[name] = std::to_string(id);
}

void PutRecordType(SourceSpec& spec, RecordType type) {
  if (type == RecordType::kInternal) spec.attrs["image.recordtype"] = "internal";
  if (type == RecordType::kFrontend) spec.attrs["image.recordtype"] = "frontend";
}

}  // namespace

std::optional<SchemeAndRest> SplitIdentifier(std::string_view identifier) {
  auto parts = Cut(identifier, "://");
  if (!parts) return std::nullopt;
  return SchemeAndRest{parts->first, parts->second};
}

Result<SourceId> ParseSource(std::string_view identifier, const Attrs& attrs) {
  auto split = SplitIdentifier(identifier);
  if (!split) return Unknown("failed to parse {} source", Quoted(identifier));
  auto [scheme, rest] = *split;
  if (rest.empty()) return Unknown("failed to parse {} source", Quoted(identifier));
  if (scheme == kImageScheme) return ParseImage(rest, attrs);
  if (scheme == kOciLayoutScheme) return ParseOciLayout(rest, attrs);
  if (scheme == kImageBlobScheme) return ParseBlob(false, rest, attrs);
  if (scheme == kOciLayoutBlobScheme) return ParseBlob(true, rest, attrs);
  if (scheme == kGitScheme) return ParseGit(rest, attrs);
  if (scheme == kLocalScheme) return ParseLocal(rest, attrs);
  if (scheme == kHttpScheme || scheme == kHttpsScheme) return ParseHttp(identifier, attrs);
  return NotFound("unknown scheme {}: not found", scheme);
}

SourceSpec Format(const ImageSource& source) {
  SourceSpec spec{fmt::format("{}://{}", kImageScheme, source.ref), {}};
  if (source.resolve_mode == ResolveMode::kPull) spec.attrs["image.resolvemode"] = "pull";
  if (source.resolve_mode == ResolveMode::kLocal) spec.attrs["image.resolvemode"] = "local";
  PutRecordType(spec, source.record_type);
  PutLimit(spec, "image.layerlimit", source.layer_limit);
  if (source.checksum) spec.attrs["image.checksum"] = "sha256:" + source.checksum->hex();
  return spec;
}

SourceSpec Format(const OciLayoutSource& source) {
  SourceSpec spec{fmt::format("{}://{}", kOciLayoutScheme, source.ref), {}};
  Put(spec, "oci.session", source.session_id);
  Put(spec, "oci.store", source.store_id);
  PutLimit(spec, "oci.layerlimit", source.layer_limit);
  return spec;
}

SourceSpec Format(const BlobSource& source) {
  SourceSpec spec{
      fmt::format("{}://{}", source.oci_layout ? kOciLayoutBlobScheme : kImageBlobScheme,
                  source.ref),
      {}};
  Put(spec, "oci.session", source.session_id);
  Put(spec, "oci.store", source.store_id);
  Put(spec, "http.filename", source.filename);
  PutRecordType(spec, source.record_type);
  if (source.mode != 0600) spec.attrs["http.perm"] = fmt::format("0{:o}", source.mode);
  PutId(spec, "http.uid", source.uid);
  PutId(spec, "http.gid", source.gid);
  return spec;
}

SourceSpec Format(const GitSource& source) {
  SourceSpec spec{CanonicalIdentifier(source), source.other};
  spec.attrs["git.fullurl"] = source.remote;
  if (source.keep_git_dir) spec.attrs["git.keepgitdir"] = "true";
  Put(spec, "git.checksum", source.checksum);
  if (source.skip_submodules) spec.attrs["git.skipsubmodules"] = "true";
  Put(spec, "git.mtime", source.mtime);
  if (source.fetch_by_commit) spec.attrs["git.fetchbycommit"] = "true";
  Put(spec, "git.authheadersecret", source.auth_header_secret);
  Put(spec, "git.authtokensecret", source.auth_token_secret);
  Put(spec, "git.mountsshsock", source.ssh_id);
  Put(spec, "git.knownsshhosts", source.known_ssh_hosts);
  return spec;
}

SourceSpec Format(const HttpSource& source) {
  SourceSpec spec{source.url, source.other};
  if (source.checksum) spec.attrs["http.checksum"] = "sha256:" + source.checksum->hex();
  Put(spec, "http.filename", source.filename);
  if (source.mode) spec.attrs["http.perm"] = fmt::format("0{:o}", *source.mode);
  PutId(spec, "http.uid", source.uid);
  PutId(spec, "http.gid", source.gid);
  Put(spec, "http.authheadersecret", source.auth_header_secret);
  for (const auto& [name, value] : source.headers) spec.attrs["http.header." + name] = value;
  return spec;
}

SourceSpec Format(const LocalSource& source) {
  SourceSpec spec{fmt::format("{}://{}", kLocalScheme, source.name), {}};
  Put(spec, "local.session", source.session_id);
  Put(spec, "local.unique", source.unique_id);
  PutStrings(spec, "local.includepattern", source.include_patterns);
  PutStrings(spec, "local.excludepatterns", source.exclude_patterns);
  PutStrings(spec, "local.followpaths", source.follow_paths);
  Put(spec, "local.sharedkeyhint", source.shared_key_hint);
  if (source.differ == Differ::kNone) spec.attrs["local.differ"] = "none";
  if (source.metadata_only) spec.attrs["local.metadatatransfer"] = "true";
  PutStrings(spec, "local.metadatatransferexclude", source.metadata_exceptions);
  return spec;
}

SourceSpec Format(const SourceId& source) {
  return std::visit([](const auto& value) { return Format(value); }, source);
}

std::string CanonicalIdentifier(const SourceId& source) {
  const auto* git = std::get_if<GitSource>(&source);
  if (!git) return Format(source).identifier;
  std::string result = "git://";
  auto url = ParseGitUrl(git->remote);
  result += url.ok() ? url->host + JoinPath("/", url->path) : git->remote;
  if (!git->ref.empty() || !git->subdir.empty()) result += "#" + git->ref;
  if (!git->subdir.empty()) result += ":" + git->subdir;
  return result;
}

}  // namespace kiln::llb
