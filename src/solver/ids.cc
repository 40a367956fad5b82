#include "solver/ids.h"

#include <fmt/format.h>

namespace kiln::solver {

KeyId RootKeyId(const KeyDigest& digest, int output) {
  return Sha256Of(fmt::format("{}@{}", digest, output)).ToString();
}

KeyId ContentKeyId(std::string_view content_digest) {
  return Sha256Of(fmt::format("{}@{}", content_digest, kContentOutput)).ToString();
}

KeyId ExportedKeyId(const KeyDigest& digest, int output) { return RootKeyId(digest, output); }

bool IsRandom(std::string_view key_digest) { return key_digest.starts_with("random:"); }

std::string EdgeId::ToString() const {
  return fmt::format("{}@{}", vertex.hex().substr(0, 12), output);
}

}  // namespace kiln::solver
