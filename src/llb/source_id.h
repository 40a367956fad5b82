#pragma once

// Source identifiers and attributes as typed values, both ways: Format(Parse(x)) says the same as
// x.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "llb/build.h"

namespace kiln::llb {

inline constexpr std::string_view kImageScheme = "docker-image";
inline constexpr std::string_view kImageBlobScheme = "docker-image+blob";
inline constexpr std::string_view kOciLayoutScheme = "oci-layout";
inline constexpr std::string_view kOciLayoutBlobScheme = "oci-layout+blob";
inline constexpr std::string_view kGitScheme = "git";
inline constexpr std::string_view kLocalScheme = "local";
inline constexpr std::string_view kHttpScheme = "http";
inline constexpr std::string_view kHttpsScheme = "https";

enum class ResolveMode { kDefault, kPull, kLocal };
enum class RecordType { kRegular, kInternal, kFrontend };

// docker-image://
struct ImageSource {
  std::string ref;  // host/path[:tag][@digest], as written
  ResolveMode resolve_mode = ResolveMode::kDefault;
  RecordType record_type = RecordType::kRegular;
  int64_t layer_limit = 0;         // 0: all layers
  std::optional<Digest> checksum;  // of the top object
};

// oci-layout://
struct OciLayoutSource {
  std::string ref;  // store@digest
  std::string session_id;
  std::string store_id;
  int64_t layer_limit = 0;
};

// docker-image+blob:// and oci-layout+blob://
struct BlobSource {
  bool oci_layout = false;
  std::string ref;  // name@digest
  std::string session_id;
  std::string store_id;
  RecordType record_type = RecordType::kRegular;
  std::string filename;  // empty: the digest's hex
  uint32_t mode = 0600;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct GitSource {
  std::string remote;  // the URL to fetch from
  std::string ref;     // empty: the remote's HEAD
  std::string subdir;
  bool keep_git_dir = false;
  std::string checksum;  // hex, may be short
  bool skip_submodules = false;
  std::string mtime;  // "commit"; all else means "checkout"
  bool fetch_by_commit = false;
  std::string auth_header_secret;
  std::string auth_token_secret;
  std::string ssh_id;  // mount this forwarded agent; empty: none
  std::string known_ssh_hosts;
  std::map<std::string, std::string> other;  // attributes not served: bundle, signatures
};

struct HttpSource {
  std::string url;
  std::optional<Digest> checksum;
  std::string filename;
  std::optional<uint32_t> mode;  // unset: 0600
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string auth_header_secret;
  std::map<std::string, std::string> headers;  // lower-case names: accept, user-agent
  std::map<std::string, std::string> other;    // attributes not served: signatures
};

enum class Differ { kMetadata, kNone };

struct LocalSource {
  std::string name;
  std::string session_id;  // empty: the build's own
  std::string unique_id;   // only makes digests differ
  std::vector<std::string> include_patterns;
  std::vector<std::string> exclude_patterns;
  std::vector<std::string> follow_paths;
  std::string shared_key_hint;
  Differ differ = Differ::kMetadata;
  bool metadata_only = false;
  std::vector<std::string> metadata_exceptions;
};

using SourceId =
    std::variant<ImageSource, OciLayoutSource, BlobSource, GitSource, HttpSource, LocalSource>;

// `unknown scheme X: not found` (NotFound); InvalidArgument for an attribute of a known name with a
// bad value. Unknown attributes are ignored, as upstream does.
Result<SourceId> ParseSource(std::string_view identifier,
                             const std::map<std::string, std::string>& attrs);

SourceSpec Format(const ImageSource& source);
SourceSpec Format(const OciLayoutSource& source);
SourceSpec Format(const BlobSource& source);
SourceSpec Format(const GitSource& source);
SourceSpec Format(const HttpSource& source);
SourceSpec Format(const LocalSource& source);
SourceSpec Format(const SourceId& source);

// Scheme and rest; nullopt if there is no "://".
struct SchemeAndRest {
  std::string_view scheme;
  std::string_view rest;
};
std::optional<SchemeAndRest> SplitIdentifier(std::string_view identifier);

// The identifier as source policies see it (`git://host/path#ref:subdir` for every way to write a
// git remote).
std::string CanonicalIdentifier(const SourceId& source);

}  // namespace kiln::llb
