// Collection and listing filters, as clients send them.
#include "base/filter.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  auto filter = kiln::Filter::Parse({text});
  if (!filter.ok()) return 0;
  filter->Matches([](const std::vector<std::string>& path) -> std::optional<std::string> {
    if (path.size() > 2) return std::nullopt;
    return path.back();
  });
  return 0;
}
