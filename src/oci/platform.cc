#include "oci/platform.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/lists.h"
#include "base/strings.h"

namespace kiln::oci {
namespace {

constexpr std::array<std::string_view, 18> kKnownOs = {
    "aix",   "android", "darwin", "dragonfly", "freebsd", "hurd",    "illumos", "ios",     "js",
    "linux", "nacl",    "netbsd", "openbsd",   "plan9",   "solaris", "wasip1",  "windows", "zos"};
constexpr std::array<std::string_view, 24> kKnownArchitectures = {
    "386",     "amd64",   "amd64p32", "arm",    "armbe",  "arm64",    "arm64be",   "ppc64",
    "ppc64le", "loong64", "mips",     "mipsle", "mips64", "mips64le", "mips64p32", "mips64p32le",
    "ppc",     "riscv",   "riscv64",  "s390",   "s390x",  "sparc",    "sparc64",   "wasm"};

bool IsComponent(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-';
  });
}

std::string NormalizeOs(std::string_view os) {
  if (os.empty()) return "linux";
  std::string out = ToLower(os);
  return out == "macos" ? "darwin" : out;
}

std::string NormalizeArmVariant(const std::string& variant) {
  if (variant.empty() || variant == "7") return "v7";
  if (variant == "5" || variant == "6" || variant == "8") return "v" + variant;
  return variant;
}

std::string NormalizeArm64Variant(const std::string& variant) {
  if (variant == "8" || variant == "v8" || variant == "8.0" || variant == "v8.0") return "";
  if (variant == "9" || variant == "9.0" || variant == "v9.0") return "v9";
  return variant;
}

std::pair<std::string, std::string> NormalizeArch(std::string_view arch_text,
                                                  std::string_view variant_text) {
  std::string arch = ToLower(arch_text);
  std::string variant = ToLower(variant_text);
  if (arch == "i386" || arch == "i686") return {"386", ""};
  if (arch == "x86_64" || arch == "x86-64" || arch == "amd64")
    return {"amd64", variant == "v1" ? "" : variant};
  if (arch == "aarch64" || arch == "arm64") return {"arm64", NormalizeArm64Variant(variant)};
  if (arch == "armhf") return {"arm", "v7"};
  if (arch == "armel") return {"arm", "v6"};
  if (arch == "arm") return {"arm", NormalizeArmVariant(variant)};
  return {std::move(arch), std::move(variant)};
}

Platform DetectHost() {
  utsname name{};
  std::string_view machine = "x86_64";
  if (uname(&name) == 0) machine = name.machine;
  std::string_view variant;
  if (machine.starts_with("armv") && machine.size() > 4) {
    variant = machine.substr(3, 2);
    machine = "arm";
  }
  Platform host;
  host.os = "linux";
  std::tie(host.architecture, host.variant) = NormalizeArch(machine, variant);
  return host;
}

bool IsOsName(std::string_view text) {
  return IsComponent(text) && text.find('.') == std::string_view::npos;
}

bool IsOsOption(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '%' || c == '-';
  });
}

Error BadOs(std::string_view part, std::string_view whole) {
  return InvalidArgument(
      "{} is an invalid OS component of {}: OSAndVersion specifier component must match {}: "
      "invalid argument",
      Quoted(part), Quoted(whole),
      Quoted(R"(^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$)"));
}

// `os(version+feature+feature)`.
Status ParseOs(std::string_view part, std::string_view whole, Platform& platform) {
  std::string_view os = part;
  const size_t open = part.find('(');
  if (open != std::string_view::npos) {
    if (!part.ends_with(')')) return BadOs(part, whole);
    os = part.substr(0, open);
    std::string_view rest = part.substr(open + 1, part.size() - open - 2);
    for (const std::string_view option : Split(rest, '+'))
      if (!IsOsOption(option)) return BadOs(part, whole);
    if (rest.ends_with('+') || rest.find("++") != std::string_view::npos) return BadOs(part, whole);
    const size_t plus = rest.find('+');
    platform.os_version = rest.substr(0, plus);
    while (rest.find('+') != std::string_view::npos) {
      rest.remove_prefix(rest.find('+') + 1);
      const std::string_view feature = rest.substr(0, rest.find('+'));
      if (!feature.empty()) platform.os_features.emplace_back(feature);
    }
    std::sort(platform.os_features.begin(), platform.os_features.end());
  }
  if (!IsOsName(os)) return BadOs(part, whole);
  platform.os = NormalizeOs(os);
  return OkStatus();
}

// One word: an operating system or an architecture.
Result<Platform> ParseSingle(std::string_view text) {
  Platform platform;
  const std::string word = NormalizeOs(text.substr(0, text.find('(')));
  TRY(ParseOs(text, text, platform));
  if (Contains(kKnownOs, word)) {
    platform.architecture = HostPlatform().architecture;
    if (platform.architecture == "arm" && HostPlatform().variant != "v7")
      platform.variant = HostPlatform().variant;
    return platform;
  }
  const auto [arch, variant] = NormalizeArch(text, "");
  if (!Contains(kKnownArchitectures, arch)) {
    return InvalidArgument("\"{}\": unknown operating system or architecture: invalid argument",
                           text);
  }
  platform = Platform();
  platform.os = HostPlatform().os;
  platform.architecture = arch;
  if (arch != "arm" || variant != "v7") platform.variant = variant;
  return platform;
}

Platform With(const Platform& base, std::string_view architecture, std::string_view variant) {
  Platform platform = base;
  platform.architecture = architecture;
  platform.variant = variant;
  return platform;
}

// The number behind `v` in "v7"; nothing for other words.
std::optional<int> VariantNumber(std::string_view variant) {
  if (variant.size() != 2 || variant[0] != 'v' || variant[1] < '0' || variant[1] > '9')
    return std::nullopt;
  return variant[1] - '0';
}

std::string V(int number) { return "v" + std::to_string(number); }

void AddArm(const Platform& base, int from, std::vector<Platform>& out) {
  for (int v = from; v >= 5; --v) out.push_back(With(base, "arm", V(v)));
}

// "v8.3" → {8, 3}; "" → {8, 0}; "v9" → {9, 0}.
std::optional<std::pair<int, int>> Arm64Version(std::string_view variant) {
  if (variant.empty()) return std::pair{8, 0};
  if (variant.size() < 2 || variant[0] != 'v' || (variant[1] != '8' && variant[1] != '9'))
    return std::nullopt;
  const int major = variant[1] - '0';
  if (variant.size() == 2) return std::pair{major, 0};
  if (variant.size() != 4 || variant[2] != '.' || variant[3] < '0' || variant[3] > '9')
    return std::nullopt;
  return std::pair{major, variant[3] - '0'};
}

std::string Arm64Variant(int major, int minor) {
  if (minor > 0) return V(major) + "." + std::to_string(minor);
  return major == 8 ? "" : V(major);
}

void AddArm64(const Platform& wanted, std::vector<Platform>& out) {
  const auto version = Arm64Version(wanted.variant);
  if (version) {
    auto [major, minor] = *version;
    if (major == 9) {
      for (int v = minor - 1; v >= 0; --v) out.push_back(With(wanted, "arm64", Arm64Variant(9, v)));
      // v9.x implies v8.(x+5).
      minor = std::min(minor + 5, 9) + 1;
    }
    for (int v = minor - 1; v >= 0; --v) out.push_back(With(wanted, "arm64", Arm64Variant(8, v)));
  }
  AddArm(wanted, 8, out);
}

std::vector<Platform> Accepted(const Platform& wanted) {
  std::vector<Platform> out = {wanted};
  if (wanted.architecture == "amd64") {
    const int level = VariantNumber(wanted.variant).value_or(1);
    for (int v = level - 1; v > 1; --v) out.push_back(With(wanted, "amd64", V(v)));
    if (level > 1) out.push_back(With(wanted, "amd64", ""));
    out.push_back(With(wanted, "386", ""));
  } else if (wanted.architecture == "arm") {
    AddArm(wanted, VariantNumber(wanted.variant).value_or(5) - 1, out);
  } else if (wanted.architecture == "arm64") {
    AddArm64(wanted, out);
  }
  return out;
}

bool OsVersionMatches(const Platform& wanted, const Platform& candidate) {
  if (wanted.os != "windows" || wanted.os_version.empty()) return true;
  // Windows: major.minor.build must agree, the revision need not.
  const auto build = [](std::string_view version) {
    size_t end = 0;
    for (int dots = 0; end < version.size(); ++end) {
      if (version[end] == '.' && ++dots == 3) break;
    }
    return version.substr(0, end);
  };
  return candidate.os_version.empty() || build(wanted.os_version) == build(candidate.os_version);
}

}  // namespace

const Platform& HostPlatform() {
  static const Platform kHost = DetectHost();
  return kHost;
}

Result<Platform> ParsePlatform(std::string_view text) {
  if (text.find('*') != std::string_view::npos) {
    return InvalidArgument("\"{}\": wildcards not yet supported: invalid argument", text);
  }
  const std::vector<std::string_view> parts = Split(text, '/');
  Platform platform;
  TRY(ParseOs(parts[0], text, platform));
  for (size_t i = 1; i < parts.size(); ++i) {
    if (!IsComponent(parts[i])) {
      return InvalidArgument(
          "\"{}\" is an invalid component of \"{}\": platform specifier component must match "
          "\"^[A-Za-z0-9_.-]+$\": invalid argument",
          parts[i], text);
    }
  }
  if (parts.size() > 3)
    return InvalidArgument("\"{}\": cannot parse platform specifier: invalid argument", text);
  if (parts.size() == 1) return ParseSingle(text);
  std::tie(platform.architecture, platform.variant) =
      NormalizeArch(parts[1], parts.size() == 3 ? parts[2] : std::string_view());
  if (parts.size() == 2 && platform.architecture == "arm" && platform.variant == "v7")
    platform.variant.clear();
  if (parts.size() == 3 && platform.architecture == "arm64" && platform.variant.empty())
    platform.variant = "v8";
  return platform;
}

Platform Normalize(Platform platform) {
  platform.os = NormalizeOs(platform.os);
  if (platform.architecture.empty()) {
    platform.architecture = HostPlatform().architecture;
    if (platform.variant.empty()) platform.variant = HostPlatform().variant;
  }
  std::tie(platform.architecture, platform.variant) =
      NormalizeArch(platform.architecture, platform.variant);
  return platform;
}

std::string Format(const Platform& platform) {
  if (platform.os.empty()) return "unknown";
  std::string out = platform.os;
  for (const std::string& part : {platform.architecture, platform.variant}) {
    if (!part.empty()) out += "/" + part;
  }
  return out;
}

std::string FormatAll(const Platform& platform) {
  if (platform.os.empty()) return "unknown";
  std::string out = platform.os;
  if (!platform.os_version.empty() || !platform.os_features.empty()) {
    out += "(" + platform.os_version;
    for (const std::string& feature : platform.os_features) out += "+" + feature;
    out += ")";
  }
  for (const std::string& part : {platform.architecture, platform.variant}) {
    if (!part.empty()) out += "/" + part;
  }
  return out;
}

PlatformMatcher::PlatformMatcher(const Platform& wanted)
    : PlatformMatcher(wanted, Accepted(Normalize(wanted))) {}

PlatformMatcher::PlatformMatcher(const Platform& wanted, std::vector<Platform> accepted)
    : wanted_(Normalize(wanted)), accepted_(std::move(accepted)) {}

PlatformMatcher PlatformMatcher::Only(const Platform& wanted) {
  return {wanted, {Normalize(wanted)}};
}

std::optional<int> PlatformMatcher::Rank(const Platform& candidate) const {
  const Platform given = Normalize(candidate);
  if (!OsVersionMatches(wanted_, given)) return std::nullopt;
  for (size_t i = 0; i < accepted_.size(); ++i) {
    const Platform& accepted = accepted_[i];
    if (accepted.os == given.os && accepted.architecture == given.architecture &&
        accepted.variant == given.variant) {
      return static_cast<int>(i);
    }
  }
  return std::nullopt;
}

int PlatformMatcher::SharedFeatures(const Platform& candidate) const {
  return static_cast<int>(
      std::count_if(candidate.os_features.begin(), candidate.os_features.end(),
                    [&](const auto& f) { return Contains(wanted_.os_features, f); }));
}

bool PlatformMatcher::Less(const Platform& a, const Platform& b) const {
  const auto rank_a = Rank(a);
  const auto rank_b = Rank(b);
  if (!rank_a || !rank_b) return rank_a.has_value() && !rank_b;
  if (*rank_a != *rank_b) return *rank_a < *rank_b;
  return SharedFeatures(a) > SharedFeatures(b);
}

}  // namespace kiln::oci
