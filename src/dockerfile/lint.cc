#include "dockerfile/lint.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "dockerfile/suggest.h"

namespace kiln::dockerfile {
namespace {

constexpr std::size_t kMaxCompared = 10'000'000;

}  // namespace

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
  if (++reported_ > kMaxFindings) return;
  lines.last = std::min(lines.last, lines.first + kMaxFindingLines - 1);
  report_(Finding{&info, lines, std::move(message)});
}

bool Linter::IsCheap(std::size_t names) {
  compared_ += names;
  return compared_ <= kMaxCompared;
}

std::string Linter::Nearest(const std::string& word, const std::vector<std::string>& names) {
  return IsCheap(names.size()) ? NearestVariable(word, names) : "";
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
