#include "exporter/verify_platforms.h"

#include <algorithm>
#include <map>

#include "base/strings.h"

namespace kiln::exporter {
namespace {

using Platforms = std::vector<oci::Platform>;

std::string Listed(const Platforms& platforms) {
  std::vector<std::string> texts;
  for (const oci::Platform& one : platforms) texts.push_back(oci::FormatAll(one));
  std::sort(texts.begin(), texts.end());
  return Join(texts, ",");
}

bool Contains(const Platforms& platforms, const oci::Platform& wanted) {
  return std::any_of(platforms.begin(), platforms.end(), [&](const oci::Platform& one) {
    return oci::FormatAll(one) == oci::FormatAll(wanted);
  });
}

// Those that were asked for, and what is wrong with the question itself.
Platforms ParseAsked(const std::string& asked, std::vector<std::string>* warnings) {
  Platforms platforms;
  if (asked.empty()) return {oci::HostPlatform()};
  for (const std::string_view text : Split(asked, ',')) {
    auto parsed = oci::ParsePlatform(text);
    if (!parsed.ok()) {
      warnings->push_back(fmt::format("Invalid platform result requested {}: {}", Quoted(text),
                                      parsed.error().ToString()));
      continue;
    }
    oci::Platform platform = oci::Normalize(*std::move(parsed));
    if (Contains(platforms, platform))
      warnings->push_back(fmt::format("Duplicate platform result requested {}", Quoted(text)));
    platforms.push_back(std::move(platform));
  }
  return platforms;
}

// Windows images say a version that nobody asked for.
bool IsAsked(const oci::Platform& asked, oci::Platform got) {
  if (asked.os_version.empty()) got.os_version.clear();
  return oci::FormatAll(asked) == oci::FormatAll(got);
}

}  // namespace

Result<std::vector<std::string>> PlatformWarnings(const std::string& asked,
                                                  const build::BuildResult& result) {
  std::vector<std::string> warnings;
  const bool named = result.metadata.contains(std::string(build::kPlatformsKey));
  if (!named && !result.is_map && !result.ref) return warnings;
  TRY_ASSIGN(const auto made, build::PlatformsOf(result));
  const Platforms wanted = ParseAsked(asked, &warnings);
  if (!warnings.empty()) return warnings;
  Platforms got;
  for (const auto& [id, platform] : made) got.push_back(oci::Normalize(platform));

  if (wanted.size() == 1 && got.size() == 1) {
    if (!IsAsked(wanted[0], got[0])) {
      const std::string text = asked.empty() ? oci::Format(wanted[0]) : asked;
      warnings.push_back(fmt::format("Requested platform {} does not match result platform {}",
                                     Quoted(text), Quoted(oci::FormatAll(got[0]))));
    }
    return warnings;
  }
  if (!result.is_map && wanted.size() > 1) {
    warnings.emplace_back("Multiple platforms requested but result is not multi-platform");
    return warnings;
  }
  const bool matches =
      wanted.size() == got.size() &&
      std::all_of(got.begin(), got.end(), [&](const oci::Platform& one) {
        return std::any_of(wanted.begin(), wanted.end(), [&](const oci::Platform& want) {
          return oci::FormatAll(want) == oci::FormatAll(one) ||
                 oci::PlatformMatcher::Only(want).Match(one);
        });
      });
  if (!matches) {
    warnings.push_back(fmt::format("Requested platforms {} do not match result platforms {}",
                                   Listed(wanted), Listed(got)));
  }
  return warnings;
}

}  // namespace kiln::exporter
