#include "dockerfile/lint_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "llb/go_json.h"
#include "llb/marshal.h"
#include "llb/source_map.h"

namespace kiln::dockerfile {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kRule = "--------------------\n";

Json WarningJson(const Finding& finding) {
  Json json = {{"ruleName", finding.rule->name}, {"description", finding.rule->description}};
  if (const std::string page = PageOf(*finding.rule); !page.empty()) json["url"] = page;
  if (!finding.message.empty()) json["detail"] = finding.message;
  json["location"] = LocationJson(finding.lines);
  return json;
}

Json SourceJson(const LoadedDockerfile& loaded) {
  pb::SourceInfo info;
  info.set_filename(loaded.source.filename);
  info.set_data(loaded.source.data);
  info.set_language("Dockerfile");
  if (loaded.llb_source != nullptr) {
    auto definition = llb::Marshal(loaded.llb_source->definition);
    if (definition.ok()) *info.mutable_definition() = std::move(definition).value();
  }
  std::string text;
  llb::AppendGoJson(text, info);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace

Json LocationJson(LineRange lines) {
  Json ranges = Json::array();
  const int last = std::min(lines.last, lines.first + kMaxFindingLines - 1);
  for (int line = lines.first; line <= last; ++line) {
    ranges.push_back({{"start", {{"line", line}}}, {"end", {{"line", line}}}});
  }
  return {{"ranges", std::move(ranges)}};
}

std::string GoIndented(const Json& json) {
  std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace);
  // These stand only in strings.
  text = ReplaceAll(text, "&", "\\u0026");
  text = ReplaceAll(text, "<", "\\u003c");
  return ReplaceAll(text, ">", "\\u003e");
}

Json LintJson(const LoadedDockerfile& loaded, const std::vector<Finding>& findings,
              const Error* error) {
  Json warnings;
  for (const Finding& finding : findings) warnings.push_back(WarningJson(finding));
  Json json = {{"warnings", std::move(warnings)}, {"sources", Json::array({SourceJson(loaded)})}};
  if (error == nullptr) return json;
  const LineRange lines = LinesOf(*error);
  json["buildError"] = {{"message", error->ToString()},
                        {"location", lines.first > 0 ? LocationJson(lines) : Json::object()}};
  return json;
}

std::string Excerpt(const SourceFile& source, LineRange lines) {
  const auto all = Split(source.data, '\n');
  const int count = static_cast<int>(all.size());
  if (lines.first < 1 || lines.first > count) return "";
  int first = lines.first;
  int last = std::min(lines.last, count);
  // Some lines around, fewer around many.
  const int wanted = first == last ? 4 : 2;
  for (int shown = 0; shown < wanted; ++shown) {
    if (first > 1) {
      --first;
      ++shown;
    }
    if (last < count) {
      ++last;
      ++shown;
    }
  }
  std::string text = fmt::format("{}:{}\n{}", source.filename, lines.first, kRule);
  for (int line = first; line <= last; ++line) {
    const bool meant = line >= lines.first && line <= lines.last;
    text += fmt::format(" {:3} | {} {}\n", line, meant ? ">>>" : "   ",
                        all[static_cast<std::size_t>(line - 1)]);
  }
  return text + kRule;
}

std::string LintText(const SourceFile& source, std::vector<Finding> findings) {
  std::stable_sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
    return a.lines.first < b.lines.first;
  });
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("\nWARNING: {}", finding.rule->name);
    if (const std::string page = PageOf(*finding.rule); !page.empty()) text += " - " + page;
    text += "\n" + finding.message + "\n" + Excerpt(source, finding.lines);
  }
  return text;
}

LineRange LinesOf(const Error& error) {
  LineRange lines;
  for (const ErrorDetail& detail : error.details()) {
    if (detail.type_url != llb::kSourceDetailType) continue;
    const auto json = nlohmann::json::parse(detail.value, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("ranges")) continue;
    for (const auto& range : json["ranges"]) {
      const int line = range.contains("start") ? range["start"].value("line", 0) : 0;
      if (line == 0) continue;
      lines.first = lines.first == 0 ? line : std::min(lines.first, line);
      lines.last = std::max(lines.last, line);
    }
  }
  return lines;
}

}  // namespace kiln::dockerfile
