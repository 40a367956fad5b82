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
  json["location"] = LocationJson({finding.lines});
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

// Some lines around one, fewer around many, of a file with so many.
LineRange WithContext(LineRange lines, int count) {
  const int wanted = lines.first == lines.last ? 4 : 2;
  for (int shown = 0; shown < wanted; ++shown) {
    if (lines.first > 1) {
      --lines.first;
      ++shown;
    }
    if (lines.last < count) {
      ++lines.last;
      ++shown;
    }
  }
  return lines;
}

}  // namespace

Json LocationJson(const std::vector<LineRange>& places) {
  Json ranges = Json::array();
  int left = kMaxFindingLines;
  for (const LineRange& lines : places) {
    for (int line = lines.first; line <= lines.last && left > 0; ++line, --left) {
      ranges.push_back({{"start", {{"line", line}}}, {"end", {{"line", line}}}});
    }
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
  const std::vector<LineRange> lines = LinesOf(*error);
  json["buildError"] = {{"message", error->ToString()},
                        {"location", lines.empty() ? Json::object() : LocationJson(lines)}};
  return json;
}

std::string Excerpt(const SourceFile& source, const std::vector<LineRange>& ranges) {
  const auto all = Split(source.data, '\n');
  const int count = static_cast<int>(all.size());
  LineRange lines;
  std::vector<int> changes(all.size() + 2);  // of how many ranges hold a line, from line to line
  for (const LineRange& range : ranges) {
    if (range.first < 1 || range.first > count) continue;
    const int end = std::clamp(range.last, range.first, count);
    lines.first = lines.first == 0 ? range.first : std::min(lines.first, range.first);
    lines.last = std::max(lines.last, end);
    ++changes[static_cast<std::size_t>(range.first)];
    --changes[static_cast<std::size_t>(end) + 1];
  }
  if (lines.first == 0) return "";
  const LineRange shown = WithContext(lines, count);
  std::string text = fmt::format("{}:{}\n{}", source.filename, lines.first, kRule);
  int holding = 0;
  for (int line = shown.first; line <= shown.last; ++line) {
    holding += changes[static_cast<std::size_t>(line)];
    std::string_view content = all[static_cast<std::size_t>(line - 1)];
    if (content.ends_with('\r')) content.remove_suffix(1);
    text += fmt::format(" {:3} | {} {}\n", line, holding > 0 ? ">>>" : "   ", content);
  }
  return text + kRule;
}

std::string Excerpt(const SourceFile& source, LineRange lines) {
  return Excerpt(source, std::vector<LineRange>{lines});
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

std::vector<LineRange> LinesOf(const Error& error) {
  std::vector<LineRange> places;
  for (const ErrorDetail& detail : error.details()) {
    if (detail.type_url != llb::kSourceDetailType) continue;
    const auto json = nlohmann::json::parse(detail.value, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("ranges")) continue;
    for (const auto& range : json["ranges"]) {
      const int line = range.contains("start") ? range["start"].value("line", 0) : 0;
      if (line > 0) places.push_back({line, line});
    }
  }
  std::sort(places.begin(), places.end(),
            [](const LineRange& a, const LineRange& b) { return a.first < b.first; });
  places.erase(std::unique(places.begin(), places.end()), places.end());
  return places;
}

}  // namespace kiln::dockerfile
