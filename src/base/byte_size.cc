#include "base/byte_size.h"

#include <string>

#include "base/strings.h"

namespace kiln {
namespace {

constexpr std::string_view kUnits = "kmgtp";
// Further digits are below one byte of the largest unit.
constexpr size_t kMostDecimals = 18;

// Bytes of a unit: "", "b", "k", "kb", "kib" and so on; 0 if it is none.
int64_t UnitOf(std::string_view unit) {
  if (unit.empty() || unit == "b") return 1;
  const size_t power = kUnits.find(unit.front());
  const std::string_view rest = unit.substr(1);
  if (power == std::string_view::npos || (!rest.empty() && rest != "b" && rest != "ib")) return 0;
  return int64_t{1} << (10 * (power + 1));
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::optional<int64_t> ParseByteSize(std::string_view text) {
  const std::string lower = ToLower(Trim(text));
  std::string_view rest = lower;
  __int128 whole = 0;
  __int128 decimals = 0;
  __int128 scale = 1;
  size_t digits = 0;
  for (; !rest.empty() && IsDigit(rest.front()); rest.remove_prefix(1), ++digits) {
    whole = whole * 10 + (rest.front() - '0');
    if (whole > INT64_MAX) return std::nullopt;
  }
  if (digits > 0 && rest.starts_with('.')) {
    rest.remove_prefix(1);
    for (digits = 0; !rest.empty() && IsDigit(rest.front()); rest.remove_prefix(1), ++digits) {
      if (digits >= kMostDecimals) continue;
      decimals = decimals * 10 + (rest.front() - '0');
      scale *= 10;
    }
  }
  if (digits == 0) return std::nullopt;
  const __int128 unit = UnitOf(Trim(rest));
  const __int128 bytes = whole * unit + decimals * unit / scale;
  if (unit == 0 || bytes > INT64_MAX) return std::nullopt;
  return static_cast<int64_t>(bytes);
}

}  // namespace kiln
