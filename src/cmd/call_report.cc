#include "cmd/call_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/csv.h"
#include "base/strings.h"
#include "cmd/json_values.h"
#include "dockerfile/lint_report.h"

namespace kiln::cmd {
namespace {

using Json = nlohmann::json;

std::string Find(const std::map<std::string, std::string>& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : found->second;
}

// What a lint result says, read back.
struct LintResult {
  struct Warning {
    std::string rule;
    std::string url;
    std::string detail;
    std::vector<dockerfile::LineRange> ranges;
    int FirstLine() const { return ranges.empty() ? 0 : ranges.front().first; }
  };
  dockerfile::SourceFile source;
  std::vector<Warning> warnings;
  bool failed = false;
  std::string message;
  std::vector<dockerfile::LineRange> failed_at;
};

LintResult ReadLint(const std::string& text, const std::string& file) {
  LintResult result;
  const Json json = ParseJson(text);
  result.source.filename = file;
  if (const auto sources = ElementsOf(json, "sources"); !sources.empty())
    result.source.data = BytesOf(sources.front(), "data");
  for (const Json& warning : ElementsOf(json, "warnings")) {
    result.warnings.push_back({TextOf(warning, "ruleName"), TextOf(warning, "url"),
                               TextOf(warning, "detail"), RangesOf(FieldOf(warning, "location"))});
  }
  if (const Json& error = FieldOf(json, "buildError"); error.is_object()) {
    result.failed = true;
    result.message = TextOf(error, "message");
    result.failed_at = RangesOf(FieldOf(error, "location"));
  }
  return result;
}

void ReportLint(const LintResult& lint, CallReport& report) {
  const std::size_t count = lint.warnings.size();
  if (count == 1) report.out += "Check complete, 1 warning has been found!\n";
  if (count > 1) report.out += fmt::format("Check complete, {} warnings have been found!\n", count);
  std::vector<LintResult::Warning> sorted = lint.warnings;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.FirstLine() < b.FirstLine(); });
  for (const auto& warning : sorted) {
    report.out += "\nWARNING: " + warning.rule;
    if (!warning.url.empty()) report.out += " - " + warning.url;
    report.out += "\n" + warning.detail + "\n" + dockerfile::Excerpt(lint.source, warning.ranges);
  }
  if (!lint.failed && count == 0) report.out += "Check complete, no warnings found.\n";
  if (lint.failed && count > 0) report.out += "\n";
}

}  // namespace

Result<CallMethod> ParseCallMethod(const std::string& text) {
  CallMethod method;
  TRY_ASSIGN_CTX(const auto fields, ParseCsv(text), "--call");
  for (const std::string& field : fields) {
    const auto cut = Cut(field, "=");
    const std::string key = cut ? ToLower(Trim(cut->first)) : "";
    if (!cut) {
      if (!method.name.empty()) return InvalidArgument("invalid value {} for --call", Quoted(text));
      method.name = field;
    } else if (key == "format") {
      method.json = cut->second == "json";
    } else if (key == "ignorestatus") {
      const auto value = ParseBool(cut->second);
      if (!value) return InvalidArgument("invalid ignorestatus value in --call: {}", cut->second);
      method.ignore_status = *value;
    } else {
      return InvalidArgument("invalid field {} in --call: want format or ignorestatus",
                             Quoted(field));
    }
  }
  if (method.name == "check") method.name = "lint";
  if (method.name == "build") return CallMethod();
  return method;
}

CallReport ReportCall(const CallMethod& method, const std::map<std::string, std::string>& metadata,
                      const std::string& file) {
  CallReport report;
  const std::string json = Find(metadata, "result.json");
  const std::string text = Find(metadata, "result.txt");
  if (method.name == "lint") {
    const LintResult lint = ReadLint(json, file);
    if (method.json) {
      report.out = json + "\n";
    } else {
      ReportLint(lint, report);
    }
    if (lint.failed) {
      report.status = 1;
      report.error = lint.message + "\n" + dockerfile::Excerpt(lint.source, lint.failed_at);
    }
  } else {
    report.out = method.json || text.empty() ? json + "\n" : text;
  }
  const auto status = ParseInt(Find(metadata, "result.statuscode"));
  if (report.status == 0 && !method.ignore_status && status) {
    report.status = static_cast<int>(*status);
  }
  return report;
}

}  // namespace kiln::cmd
