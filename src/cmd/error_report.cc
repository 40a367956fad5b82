#include "cmd/error_report.h"

#include <set>

#include "cmd/json_values.h"
#include "dockerfile/lint_report.h"
#include "llb/source_map.h"

namespace kiln::cmd {
namespace {

// Of an error's detail; "" if it makes no sense.
std::string ExcerptOf(const std::string& detail) {
  const nlohmann::json location = ParseJson(detail);
  const nlohmann::json& info = FieldOf(location, "info");
  dockerfile::SourceFile source;
  source.filename = TextOf(info, "filename");
  source.data = BytesOf(info, "data");
  return dockerfile::Excerpt(source, RangesOf(location));
}

}  // namespace

std::string DescribeError(const Error& error) {
  std::string text;
  std::set<std::string> seen;
  for (const auto& detail : error.details()) {
    if (detail.type_url != llb::kSourceDetailType) continue;
    std::string excerpt = ExcerptOf(detail.value);
    if (seen.insert(excerpt).second) text += excerpt;
  }
  return text + "ERROR: " + error.ToString() + "\n";
}

}  // namespace kiln::cmd
