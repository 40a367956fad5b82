#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/digest.h"

namespace kiln::solver {

// D: what an op's key map says, as text: "sha256:<hex>", or "random:<hex>" for keys that mean
// something to one client session only. Keys built on a random D are never written to disk.
using KeyDigest = std::string;

// Names a key inside one cache source. Root keys (of ops without inputs) and content keys are
// "sha256:<hex>" and equal in all sources; every other id is private to its source and opaque (the
// solver mints "k:<25 characters>" for the local one).
using KeyId = std::string;

// Names one stored result inside one cache source; opaque.
using RecordId = std::string;

inline constexpr int kContentOutput = -1;

// sha256 of the text "D@n".
KeyId RootKeyId(const KeyDigest& digest, int output);
// The key of a content digest: RootKeyId with output -1.
KeyId ContentKeyId(std::string_view content_digest);
// The digest text under which a key is exported: RootKeyId(D, n), for keys with inputs too.
KeyId ExportedKeyId(const KeyDigest& digest, int output);
bool IsRandom(std::string_view key_digest);

// What a vertex is known by in the solver: hash of its op's digest, ignore-cache (then of its owner
// too), compatibility version and the identities of its inputs.
using VertexId = Digest;

// One output of a vertex.
struct EdgeId {
  VertexId vertex;
  int output = 0;
  auto operator<=>(const EdgeId&) const = default;
  std::string ToString() const;
};

}  // namespace kiln::solver

template <>
struct std::hash<kiln::solver::EdgeId> {
  size_t operator()(const kiln::solver::EdgeId& id) const noexcept {
    return std::hash<kiln::Digest>()(id.vertex) * 31 + static_cast<size_t>(id.output);
  }
};
