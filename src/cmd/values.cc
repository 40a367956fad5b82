#include "cmd/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/byte_size.h"
#include "base/strings.h"

namespace kiln::cmd {
namespace {

using std::chrono::duration_cast;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

std::string Plural(int64_t count, std::string_view unit) {
  return fmt::format("{} {}{} ago", count, unit, count == 1 ? "" : "s");
}

bool IsExpression(std::string_view text) {
  return text.find("==") != std::string_view::npos || text.find("!=") != std::string_view::npos ||
         text.find("~=") != std::string_view::npos;
}

}  // namespace

std::string Env(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

Result<int64_t> ParseSize(const std::string& flag, const std::string& text) {
  const auto bytes = ParseByteSize(text);
  if (!bytes) return InvalidArgument("invalid size {} for {}", Quoted(text), flag);
  return *bytes;
}

Result<CacheFilter> ParseCacheFilters(const std::vector<std::string>& texts) {
  CacheFilter filter;
  std::vector<std::string> terms;
  for (const std::string& text : texts) {
    auto cut = Cut(text, "=");
    if (IsExpression(text) || !cut) {
      terms.push_back(text);
    } else if (cut->first == "until") {
      TRY_ASSIGN_CTX(filter.until, ParseDuration(cut->second), "--filter {}", text);
    } else {
      terms.push_back(
          fmt::format("{}{}{}", cut->first, cut->first == "id" ? "~=" : "==", cut->second));
    }
  }
  if (!terms.empty()) filter.expressions.push_back(Join(terms, ","));
  return filter;
}

std::string FormatTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 3, ' ');
    }
    while (line.ends_with(' ')) line.pop_back();
    out += line + "\n";
  }
  return out;
}

std::string FormatAge(nanoseconds age) {
  if (age < seconds(1)) return "just now";
  if (age < minutes(1)) return Plural(duration_cast<seconds>(age).count(), "second");
  if (age < hours(1)) return Plural(duration_cast<minutes>(age).count(), "minute");
  if (age < hours(48)) return Plural(duration_cast<hours>(age).count(), "hour");
  return Plural(duration_cast<hours>(age).count() / 24, "day");
}

std::string FormatSpan(nanoseconds span) {
  span = std::max(span, nanoseconds(0));
  if (span < minutes(1)) return fmt::format("{:.1f}s", std::chrono::duration<double>(span).count());
  int64_t total = duration_cast<seconds>(span).count();
  if (span < hours(1)) return fmt::format("{}m {}s", total / 60, total % 60);
  return fmt::format("{}h {}m", total / 3600, total / 60 % 60);
}

}  // namespace kiln::cmd
