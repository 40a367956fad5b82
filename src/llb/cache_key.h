#pragma once

// Cache-map digests of ops, byte for byte what upstream hashes, so that caches written by either
// side match.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "llb/definition.h"
#include "llb/source_id.h"
#include "oci/platform.h"

namespace kiln::llb {

// One selection of a content digest: a path, or with a wildcard or filters many.
struct ContentSelector {
  std::string path;  // absolute, cleaned; "/" is the whole tree
  bool wildcard = false;
  bool follow_links = false;
  std::vector<std::string> include_patterns;
  std::vector<std::string> exclude_patterns;
  std::vector<std::string> required_paths;
  bool of_copy = false;  // the source of a copy action: links are followed as that does
  friend bool operator==(const ContentSelector&, const ContentSelector&) = default;
};

// How one input takes part in an op's keys.
struct KeyInput {
  std::optional<Digest> selector;          // nullopt: none
  bool content = false;                    // may be matched by a digest of `selectors`
  std::vector<ContentSelector> selectors;  // in the order their digests are joined
};

struct KeyMap {
  Digest digest;                 // D
  std::vector<KeyInput> inputs;  // one per op input
};

// Exec, file, merge, diff, build and passthrough vertices; a source's key comes from source_key.h.
// InvalidArgument: `invalid mount cache content …` and other inputs that do not fit.
Result<KeyMap> KeyMapOf(const Vertex& vertex);

// The exact text that is hashed; for tests and for showing why a step ran.
Result<std::string> KeyPreimage(const Vertex& vertex);

// D of a source from its key K: "sha256:…", or "random:…" when K begins with "session:".
std::string SourceKeyDigest(std::string_view key);

// The content digest of an input: sha256 of the digests' texts joined by NUL.
Digest JoinContentDigests(const std::vector<Digest>& digests);

}  // namespace kiln::llb
