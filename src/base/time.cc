#include "base/time.h"

#include <cctype>
#include <cmath>

#include "base/strings.h"

namespace kiln {
namespace {

// Reads exactly `digits` decimal digits at the front of `text`, which is shortened.
bool TakeNumber(std::string_view& text, size_t digits, int& value) {
  if (text.size() < digits) return false;
  value = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return true;
}

bool TakeChar(std::string_view& text, char want) {
  if (text.empty() || std::tolower(static_cast<unsigned char>(text[0])) != want) return false;
  text.remove_prefix(1);
  return true;
}

bool TakeFraction(std::string_view& text, int64_t& nanos) {
  nanos = 0;
  if (!text.starts_with('.')) return true;
  text.remove_prefix(1);
  int64_t unit = 100'000'000;
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    nanos += unit * (text[digits] - '0');
    unit /= 10;
    ++digits;
  }
  text.remove_prefix(digits);
  return digits > 0;
}

bool TakeZone(std::string_view& text, int& offset_minutes) {
  offset_minutes = 0;
  if (TakeChar(text, 'z')) return text.empty();
  if (text.empty() || (text[0] != '+' && text[0] != '-')) return false;
  int sign = text[0] == '-' ? -1 : 1;
  text.remove_prefix(1);
  int hours = 0;
  int minutes = 0;
  if (!TakeNumber(text, 2, hours) || !TakeChar(text, ':') || !TakeNumber(text, 2, minutes)) {
    return false;
  }
  offset_minutes = sign * (hours * 60 + minutes);
  return text.empty() && hours < 24 && minutes < 60;
}

double UnitSeconds(std::string_view unit) {
  if (unit == "ns") return 1e-9;
  if (unit == "us" || unit == "µs") return 1e-6;
  if (unit == "ms") return 1e-3;
  if (unit == "s") return 1;
  if (unit == "m") return 60;
  if (unit == "h") return 3600;
  return 0;
}

}  // namespace

std::string FormatRfc3339(WallTime time) {
  auto days = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day date(days);
  std::chrono::hh_mm_ss clock(time - days);
  std::string text =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                  clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (auto nanos = clock.subseconds().count(); nanos != 0) {
    std::string fraction = fmt::format("{:09}", nanos);
    fraction.erase(fraction.find_last_not_of('0') + 1);
    text.append(".").append(fraction);
  }
  return text + "Z";
}

Result<WallTime> ParseRfc3339(std::string_view text) {
  std::string_view rest = text;
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, offset = 0;
  int64_t nanos = 0;
  bool good = TakeNumber(rest, 4, year) && TakeChar(rest, '-') && TakeNumber(rest, 2, month) &&
              TakeChar(rest, '-') && TakeNumber(rest, 2, day) && TakeChar(rest, 't') &&
              TakeNumber(rest, 2, hour) && TakeChar(rest, ':') && TakeNumber(rest, 2, minute) &&
              TakeChar(rest, ':') && TakeNumber(rest, 2, second) && TakeFraction(rest, nanos) &&
              TakeZone(rest, offset);
  std::chrono::year_month_day date{std::chrono::year(year),
                                   std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day))};
  // Years that nanoseconds since 1970 in 64 bits cannot hold are refused, but for Go's zero time.
  good = good && date.ok() && hour < 24 && minute < 60 && second < 61;
  if (good && year == 1) return WallTime();
  if (!good || year < 1678 || year > 2261) return InvalidArgument("invalid time {}", Quoted(text));
  return WallTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) +
         std::chrono::minutes(minute - offset) + std::chrono::seconds(second) + nanoseconds(nanos);
}

Result<nanoseconds> ParseDuration(std::string_view text) {
  std::string_view rest = text;
  bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return nanoseconds(0);
  double seconds = 0;
  const auto bad = [&] { return InvalidArgument("invalid duration {}", Quoted(text)); };
  if (rest.empty()) return bad();
  while (!rest.empty()) {
    const size_t digits = std::min(rest.find_first_not_of("0123456789."), rest.size());
    const std::string number(rest.substr(0, digits));
    if (number.find_first_not_of('.') == std::string::npos) return bad();
    rest.remove_prefix(digits);
    if (rest.empty() || std::count(number.begin(), number.end(), '.') > 1)
      return InvalidArgument("missing unit in duration {}", Quoted(text));
    const size_t letters = std::min(rest.find_first_of("0123456789."), rest.size());
    const double unit = UnitSeconds(rest.substr(0, letters));
    if (unit <= 0) {
      return InvalidArgument("unknown unit {} in duration {}", Quoted(rest.substr(0, letters)),
                             Quoted(text));
    }
    seconds += std::strtod(number.c_str(), nullptr) * unit;
    rest.remove_prefix(letters);
  }
  if (seconds > 9.2e9) return bad();
  auto nanos = nanoseconds(static_cast<int64_t>(std::llround(seconds * 1e9)));
  return negative ? -nanos : nanos;
}

}  // namespace kiln
