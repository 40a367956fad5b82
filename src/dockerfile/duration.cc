#include "dockerfile/duration.h"

#include <fmt/format.h>

namespace kiln::dockerfile {
namespace {

std::string Fraction(std::uint64_t value, std::uint64_t unit) {
  std::string text = fmt::format("{}", value / unit);
  std::uint64_t rest = value % unit;
  if (rest == 0) return text;
  text += '.';
  for (; rest != 0; rest %= unit) {
    unit /= 10;
    text += static_cast<char>('0' + rest / unit);
  }
  return text;
}

}  // namespace

std::string FormatDuration(std::int64_t ns) {
  if (ns == 0) return "0s";
  const std::string sign = ns < 0 ? "-" : "";
  const std::uint64_t value =
      ns < 0 ? ~static_cast<std::uint64_t>(ns) + 1 : static_cast<std::uint64_t>(ns);
  if (value < 1000) return fmt::format("{}{}ns", sign, value);
  if (value < 1000000) return sign + Fraction(value, 1000) + "\xC2\xB5s";
  if (value < 1000000000) return sign + Fraction(value, 1000000) + "ms";
  constexpr std::uint64_t kMinute = 60ULL * 1000000000ULL;
  std::string text = Fraction(value % kMinute, 1000000000) + "s";
  const std::uint64_t minutes = value / kMinute;
  if (minutes > 0) text = fmt::format("{}m", minutes % 60) + text;
  if (minutes >= 60) text = fmt::format("{}h", minutes / 60) + text;
  return sign + text;
}

}  // namespace kiln::dockerfile
