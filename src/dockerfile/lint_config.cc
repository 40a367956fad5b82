#include "dockerfile/lint_config.h"

#include <utility>

#include "base/strings.h"
#include "dockerfile/directives.h"
#include "dockerfile/lint_rules.h"

namespace kiln::dockerfile {
namespace {

constexpr std::size_t kMaxParts = 3;

void SetRules(std::string_view value, bool& all, std::set<std::string, std::less<>>& rules) {
  value = Trim(value);
  all = value == "all";
  rules.clear();
  if (all) return;
  for (const std::string_view rule : Split(value, ',')) rules.emplace(Trim(rule));
}

Status Apply(std::string_view part, LintConfig& config) {
  const auto cut = Cut(part, "=");
  if (!cut) return Unknown("invalid check option {}", Quoted(part));
  const std::string_view key = Trim(cut->first);
  if (key == "skip") {
    SetRules(cut->second, config.skip_all, config.skip);
  } else if (key == "experimental") {
    SetRules(cut->second, config.experimental_all, config.experimental);
  } else if (key == "error") {
    const auto value = ParseBool(Trim(cut->second));
    if (!value) {
      return Unknown(
          "failed to parse check option {}: strconv.ParseBool: parsing {}: invalid syntax",
          Quoted(part), Quoted(Trim(cut->second)));
    }
    config.error = *value;
  } else {
    return Unknown("invalid check option {}", Quoted(key));
  }
  return OkStatus();
}

}  // namespace

void LintConfig::Merge(const LintConfig& other) {
  skip_all = skip_all || other.skip_all;
  skip.insert(other.skip.begin(), other.skip.end());
  experimental_all = experimental_all || other.experimental_all;
  experimental.insert(other.experimental.begin(), other.experimental.end());
}

bool LintConfig::Wants(const RuleInfo& rule) const {
  if (rule.experimental) return experimental_all || experimental.contains(rule.name);
  return !skip_all && !skip.contains(rule.name);
}

Result<LintConfig> ParseLintConfig(std::string_view text) {
  LintConfig config;
  text = Trim(text);
  for (std::size_t i = 0; !text.empty(); ++i) {
    // What follows the last separator that counts is part of the last value.
    const auto end = i + 1 < kMaxParts ? text.find(';') : std::string_view::npos;
    TRY(Apply(text.substr(0, end), config));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
    if (text.empty()) return Unknown("invalid check option \"\"");
  }
  return config;
}

Result<LintConfig> LintConfigOf(const Options& options, std::string_view data) {
  if (const auto given = options.BuildArg("BUILDKIT_DOCKERFILE_CHECK")) {
    TRY_ASSIGN_CTX(LintConfig config, ParseLintConfig(*given),
                   "failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK");
    return config;
  }
  const auto found = FindCheck(data);
  TRY_ASSIGN_CTX(LintConfig config, ParseLintConfig(found ? found->word : ""),
                 "failed to parse check options");
  return config;
}

LintConfig LintConfigOfComments(const std::vector<std::string>& comments) {
  for (const std::string& comment : comments) {
    const auto directive = ParseDirectiveLine("#" + comment);
    if (!directive || directive->name != "check") continue;
    const std::string& value = directive->value;
    auto config = ParseLintConfig(std::string_view(value).substr(0, value.find(' ')));
    return config.ok() ? std::move(config).value() : LintConfig();
  }
  return {};
}

}  // namespace kiln::dockerfile
