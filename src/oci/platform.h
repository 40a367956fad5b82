#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kiln::oci {

// OCI image-spec v1.1, image-index, "platform". Rules of containerd's platforms package.
struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;
  std::string os_version;
  std::vector<std::string> os_features;

  friend bool operator==(const Platform&, const Platform&) = default;
  friend auto operator<=>(const Platform&, const Platform&) = default;

  bool empty() const { return os.empty() && architecture.empty(); }
};

// The platform of this machine, normalised: amd64 without a variant, arm with the kernel's.
const Platform& HostPlatform();

// `os`, `arch`, `os/arch` or `os/arch/variant`, the os as `os(version+feature)` if wished. As
// containerd does it: `linux/arm64` has no variant, `linux/arm64/v8` says v8; Normalize makes both
// equal.
Result<Platform> ParsePlatform(std::string_view text);

// Lower case and canonical names: x86_64 → amd64, aarch64 → arm64, armhf → arm/v7, arm → arm/v7,
// amd64/v1 → amd64, arm64/v8 → arm64. An empty os or architecture becomes the host's.
Platform Normalize(Platform platform);

// `os/arch[/variant]`; "unknown" if there is no os.
std::string Format(const Platform& platform);
// The same with `(version+feature…)` behind the os where they are set.
std::string FormatAll(const Platform& platform);

// Which images may run for a wanted platform, best first: amd64/v3 takes v3, v2, amd64, 386; arm/v7
// takes v7, v6, v5; arm64 takes arm64, then arm v8 … v5.
class PlatformMatcher {
 public:
  explicit PlatformMatcher(const Platform& wanted);
  // Only the platform itself, with no lesser variants.
  static PlatformMatcher Only(const Platform& wanted);

  // 0 is the best; nothing if it does not match.
  std::optional<int> Rank(const Platform& candidate) const;
  bool Match(const Platform& candidate) const { return Rank(candidate).has_value(); }
  // Whether `a` is to be preferred over `b`; among equal ranks the one with more of the wanted os
  // features.
  bool Less(const Platform& a, const Platform& b) const;

 private:
  PlatformMatcher(const Platform& wanted, std::vector<Platform> accepted);
  int SharedFeatures(const Platform& candidate) const;

  Platform wanted_;
  std::vector<Platform> accepted_;
};

}  // namespace kiln::oci
