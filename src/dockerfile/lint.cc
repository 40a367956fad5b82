#include "dockerfile/lint.h"

#include <fmt/format.h>

#include <utility>

#include "base/strings.h"

namespace kiln::dockerfile {

std::string WrittenKeyword(const Instruction& instruction) {
  const std::string_view text = Trim(instruction.original);
  return std::string(text.substr(0, text.find_first_of(" \t\v\f\r")));
}

std::string Finding::Short() const {
  return fmt::format("{}: {} (line {})", rule->name, message, lines.first);
}

void Linter::Report(Rule rule, LineRange lines, std::string message,
                    const std::vector<std::string>& comments) {
  const RuleInfo& info = InfoOf(rule);
  LintConfig config = config_;
  config.Merge(LintConfigOfComments(comments));
  if (!config.Wants(info)) return;
  violated_.insert(info.name);
  report_(Finding{&info, lines, std::move(message)});
}

void Linter::Report(const Step& step, Rule rule, std::string message) {
  Report(rule, step.lines, std::move(message), step.instruction.comments);
}

Status Linter::Verdict() const {
  if (!config_.error || violated_.empty()) return OkStatus();
  const std::vector<std::string> names(violated_.begin(), violated_.end());
  return Unknown("lint violation found for rules: {}", Join(names, ", "));
}

}  // namespace kiln::dockerfile
