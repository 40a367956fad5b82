#include "cmd/error_report.h"

#include <set>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "llb/source_map.h"

namespace kiln::cmd {
namespace {

using Json = nlohmann::json;

constexpr int kContextLines = 2;
constexpr const char* kRule = "--------------------\n";

int LineOf(const Json& range, const char* end) {
  if (!range.is_object() || !range.contains(end) || !range[end].is_object()) return 0;
  return range[end].value("line", 0);
}

// "Dockerfile:3", a rule, the lines around with ">>>" before those meant, a rule. "" if the detail
// makes no sense.
std::string Excerpt(const std::string& detail) {
  Json document = Json::parse(detail, nullptr, false);
  if (!document.is_object() || !document.contains("info") || !document["info"].is_object())
    return "";
  const Json& info = document["info"];
  auto data = Base64Decode(info.value("data", ""));
  const Json ranges = document.value("ranges", Json::array());
  if (!data || !ranges.is_array()) return "";
  std::set<int> marked;
  for (const auto& range : ranges) {
    int first = LineOf(range, "start");
    int last = std::max(first, LineOf(range, "end"));
    for (int line = first; line >= 1 && line <= last; ++line) marked.insert(line);
  }
  if (marked.empty()) return "";
  auto lines = Split(*data, '\n');
  std::string text = fmt::format("{}:{}\n{}", info.value("filename", ""), *marked.begin(), kRule);
  int last = std::min(static_cast<int>(lines.size()), *marked.rbegin() + kContextLines);
  for (int line = std::max(1, *marked.begin() - kContextLines); line <= last; ++line) {
    std::string_view content = lines[static_cast<size_t>(line - 1)];
    if (content.ends_with('\r')) content.remove_suffix(1);
    text += fmt::format("{:4} | {} {}\n", line, marked.contains(line) ? ">>>" : "   ", content);
  }
  return text + kRule;
}

}  // namespace

std::string DescribeError(const Error& error) {
  std::string text;
  std::set<std::string> seen;
  for (const auto& detail : error.details()) {
    if (detail.type_url != llb::kSourceDetailType) continue;
    std::string excerpt = Excerpt(detail.value);
    if (seen.insert(excerpt).second) text += excerpt;
  }
  return text + "ERROR: " + error.ToString() + "\n";
}

}  // namespace kiln::cmd
