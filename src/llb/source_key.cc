#include "llb/source_key.h"

#include <utility>

#include "oci/json.h"

namespace kiln::llb {
namespace {

std::string HeaderName(const std::string& lower) {
  std::string name = lower;
  bool upper = true;
  for (char& c : name) {
    if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    upper = c == '-';
  }
  return name;
}

void StringsOrNull(oci::JsonWriter& json, const char* key, const std::vector<std::string>& values) {
  json.Key(key);
  if (values.empty()) {
    json.Null();
    return;
  }
  json.BeginArray();
  for (const std::string& value : values) json.String(value);
  json.EndArray();
}

}  // namespace

Digest ImageManifestKey(const Digest& top, const oci::Platform& platform, int64_t layer_limit) {
  oci::JsonWriter json;
  json.BeginObject();
  json.Key("Digest").String(top.ToString());
  json.Key("OS").String(platform.os);
  json.Key("Arch").String(platform.architecture);
  if (!platform.variant.empty()) json.Key("Variant").String(platform.variant);
  if (!platform.os_version.empty()) json.Key("OSVersion").String(platform.os_version);
  if (!platform.os_features.empty()) {
    json.Key("OSFeatures").BeginArray();
    for (const std::string& feature : platform.os_features) json.String(feature);
    json.EndArray();
  }
  if (layer_limit > 0) json.Key("Limit").Int(layer_limit);
  json.EndObject();
  return Sha256Of(json.Take());
}

Digest BlobKey(const Digest& blob, std::string_view filename, uint32_t mode, uint32_t uid,
               uint32_t gid) {
  oci::JsonWriter json;
  json.BeginObject();
  json.Key("Version").String("v1");
  json.Key("Digest").String(blob.ToString());
  json.Key("Filename").String(filename);
  json.Key("Perm").Int(mode);
  json.Key("UID").Int(uid);
  json.Key("GID").Int(gid);
  json.EndObject();
  return Sha256Of(json.Take());
}

std::string GitKey(const GitSource& source, std::string_view commit,
                   std::string_view resolved_ref) {
  std::string key(commit);
  if (source.keep_git_dir) {
    key += ".git";
    if (!resolved_ref.empty()) key.append("#").append(resolved_ref);
  }
  if (!source.subdir.empty()) key += ":" + source.subdir;
  if (source.skip_submodules) key += "(skip-submodules)";
  if (!source.mtime.empty() && source.mtime != "checkout") key += "(mtime=" + source.mtime + ")";
  if (source.other.contains("git.checkoutbundle")) key += "(bundle)";
  return key;
}

Digest HttpKey(const HttpKeyParts& parts) {
  oci::JsonWriter json;
  json.BeginObject();
  json.Key("Filename").String(parts.filename);
  json.Key("Perm").Int(parts.mode);
  json.Key("UID").Int(parts.uid);
  json.Key("GID").Int(parts.gid);
  json.Key("Checksum").String(parts.checksum.ToString());
  if (!parts.last_modified.empty()) json.Key("LastModTime").String(parts.last_modified);
  if (!parts.auth_header_secret.empty())
    json.Key("AuthHeaderSecret").String(parts.auth_header_secret);
  if (!parts.headers.empty()) {
    json.Key("Header").BeginArray();
    // Sorted by name: lower-case order and the order of the canonical names are the same.
    for (const auto& [name, value] : parts.headers) {
      json.BeginObject();
      json.Key("Name").String(HeaderName(name));
      json.Key("Value").String(value);
      json.EndObject();
    }
    json.EndArray();
  }
  json.EndObject();
  return Sha256Of(json.Take());
}

std::string LocalKey(const LocalSource& source, std::string_view session_id) {
  oci::JsonWriter json;
  json.BeginObject();
  json.Key("SessionID").String(session_id);
  StringsOrNull(json, "IncludePatterns", source.include_patterns);
  StringsOrNull(json, "ExcludePatterns", source.exclude_patterns);
  StringsOrNull(json, "FollowPaths", source.follow_paths);
  if (source.metadata_only) json.Key("MetadataTransfer").Bool(true);
  if (!source.metadata_exceptions.empty())
    StringsOrNull(json, "MetadataExceptions", source.metadata_exceptions);
  json.EndObject();
  return "session:" + source.name + ":" + Sha256Of(json.Take()).ToString();
}

}  // namespace kiln::llb
