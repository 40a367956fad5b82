#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kiln {

// A sha256 digest as a 32-byte value; text form "sha256:<64 lowercase hex>" (OCI image-spec,
// descriptor.md#digests). Other algorithms are refused when parsed. The default value is "empty"
// (all zero), which no content has.
class Digest {
 public:
  static constexpr size_t kBytes = 32;

  Digest() = default;
  explicit Digest(const std::array<uint8_t, kBytes>& bytes) : bytes_(bytes) {}

  static Result<Digest> Parse(std::string_view text);
  // From 64 lowercase hex characters without the algorithm.
  static Result<Digest> FromHex(std::string_view hex);

  bool empty() const { return *this == Digest(); }
  const std::array<uint8_t, kBytes>& bytes() const { return bytes_; }
  std::string hex() const;
  // "sha256:…"; "" for the empty digest.
  std::string ToString() const;

  auto operator<=>(const Digest&) const = default;

 private:
  std::array<uint8_t, kBytes> bytes_{};
};

// Incremental SHA-256. One use: after Finish() call Reset() to begin again. One thread at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& Update(std::string_view data);
  Sha256& Update(const void* data, size_t size);
  Digest Finish();
  void Reset();
  // A hasher that has seen the same bytes.
  Sha256 Clone() const;

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest Sha256Of(std::string_view data);

}  // namespace kiln

template <>
struct std::hash<kiln::Digest> {
  size_t operator()(const kiln::Digest& digest) const noexcept {
    size_t value;
    std::memcpy(&value, digest.bytes().data(), sizeof value);
    return value;
  }
};

template <>
struct fmt::formatter<kiln::Digest> : fmt::formatter<std::string> {
  auto format(const kiln::Digest& digest, format_context& context) const {
    return formatter<std::string>::format(digest.ToString(), context);
  }
};
