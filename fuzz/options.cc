// What clients say of outputs and caches: attributes of an exporter and its annotations, one
// "name=value" a line; and flags of the command line.
#include <map>
#include <string>

#include "base/strings.h"
#include "cmd/build_flags.h"
#include "cmd/values.h"
#include "exporter/attributes.h"
#include "parts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kiln;  // NOLINT: one file, one purpose
  const Parts parts(data, size);
  std::map<std::string, std::string> attrs;
  for (const std::string_view line : Split(parts[0], '\n')) {
    const auto pair = Cut(line, "=");
    attrs[std::string(pair ? pair->first : line)] = pair ? pair->second : "";
  }
  build::BuildResult result;
  result.metadata = attrs;
  if (auto image = exporter::ParseImageAttributes(attrs, {"dest", "tar"}); image.ok()) {
    if (image->epoch_seconds) (void)exporter::EffectiveEpoch(image->epoch_seconds, result, "");
  }
  (void)exporter::TakeBool(attrs, "tar", false, true);
  (void)exporter::TakeEpoch(attrs);
  (void)exporter::EffectiveEpoch(std::nullopt, result, "linux/amd64");
  for (const std::string_view line : Split(parts[1], '\n')) {
    const std::string text(line);
    (void)cmd::ParseCsv(text);
    (void)cmd::ParseOutput(text);
    (void)cmd::ParseSize("--size", text);
    if (const auto filters = cmd::ParseCacheFilters({text}); filters.ok()) {
      (void)cmd::FormatSpan(filters->until);
      (void)cmd::FormatAge(filters->until);
    }
  }
  return 0;
}
