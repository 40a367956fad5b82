// A buildkitd.toml, and the collection rules it asks for.
#include "control/config.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  kiln::control::Config config;
  if (kiln::control::ApplyToml(text, &config).ok()) {
    (void)kiln::control::GcRulesOf(config, uint64_t{1} << 40);
  }
  (void)kiln::control::ParseDiskSize(text);
  (void)kiln::control::ApplyKeepStorage(text, &config);
  return 0;
}
