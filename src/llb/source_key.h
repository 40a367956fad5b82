#pragma once

// Keys K of sources. cache_key.h's SourceKeyDigest makes D of them.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "llb/source_id.h"
#include "oci/platform.h"

namespace kiln::llb {

// Of image and oci-layout, from the digest of the top object. The diff ids of a configuration are
// no key: they are verified only when layers are unpacked.
Digest ImageManifestKey(const Digest& top, const oci::Platform& platform, int64_t layer_limit);

Digest BlobKey(const Digest& blob, std::string_view filename, uint32_t mode, uint32_t uid,
               uint32_t gid);

// `resolved_ref` is what the ref turned out to be (refs/heads/main).
std::string GitKey(const GitSource& source, std::string_view commit, std::string_view resolved_ref);

struct HttpKeyParts {
  std::string filename;
  uint32_t mode = 0600;
  uint32_t uid = 0;
  uint32_t gid = 0;
  Digest checksum;
  std::string last_modified;  // as an HTTP date; empty: none
  std::string auth_header_secret;
  std::map<std::string, std::string> headers;
};
Digest HttpKey(const HttpKeyParts& parts);

// "session:<name>:<digest>".
std::string LocalKey(const LocalSource& source, std::string_view session_id);

}  // namespace kiln::llb
