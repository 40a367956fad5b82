// Build checks that need nothing but the file: casing, names, what FROM lines say.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "dockerfile/lint.h"
#include "oci/platform.h"
#include "oci/reference.h"

namespace kiln::dockerfile {
namespace {

bool IsLower(std::string_view text) { return text == ToLower(text); }
bool IsUpper(std::string_view text) { return text == ToUpper(text); }

// Calls `visit` with every instruction of the stages, FROM included.
template <typename Visit>
void ForEachOfStages(const Dockerfile& file, const Visit& visit) {
  for (const Stage& stage : file.stages) {
    visit(stage.head);
    for (const Instruction& instruction : stage.instructions) visit(instruction);
  }
}

}  // namespace

void Linter::CheckFile(const Options& options, const SourceFile& source, const Dockerfile& file,
                       bool complete, const Variables& automatic) {
  escape_ = file.escape;
  build_args_ = options.build_args;
  for (const LineRange& lines : file.empty_continuations) {
    Report(Rule::kNoEmptyContinuation, {lines.last, lines.last}, "Empty continuation line");
  }
  for (const Instruction& instruction : file.global_args) CheckParsed(instruction);
  ForEachOfStages(file, [this](const Instruction& instruction) { CheckParsed(instruction); });
  if (file.failed) CheckParsed(*file.failed);
  if (!complete) return;
  CheckStageNames(file);
  CheckKeywordCasing(file);
  CheckDefaultBases(source, file, automatic);
  const auto globals = GlobalVariables(options, file, source, automatic);
  if (globals.ok()) CheckFroms(file, *globals);
}

void Linter::CheckParsed(const Instruction& instruction) {
  if (std::holds_alternative<Maintainer>(instruction.body)) {
    Report(Rule::kMaintainerDeprecated, instruction.lines,
           "Maintainer instruction is deprecated in favor of using label", instruction.comments);
  }
  if (const auto* from = std::get_if<From>(&instruction.body)) CheckFromWords(*from, instruction);
  if (const auto* arg = std::get_if<Arg>(&instruction.body)) {
    std::vector<std::string> names;
    for (const Arg::Item& item : arg->items) names.push_back(item.key);
    CheckDescription(instruction, names);
  }
}

// Of a FROM that cannot be parsed, too: then nothing is known but its words.
void Linter::CheckFromWords(const From& from, const Instruction& instruction) {
  if (!from.name_as_written.empty() && !IsLower(from.name_as_written)) {
    Report(Rule::kStageNameCasing, instruction.lines,
           fmt::format("Stage name '{}' should be lowercase", from.name_as_written),
           instruction.comments);
  }
  if (from.as_keyword.empty()) return;
  const std::string keyword = WrittenKeyword(instruction);
  // A keyword of mixed case is another rule's.
  const bool fits = IsLower(keyword)   ? IsLower(from.as_keyword)
                    : IsUpper(keyword) ? IsUpper(from.as_keyword)
                                       : true;
  if (!fits) {
    Report(Rule::kFromAsCasing, instruction.lines,
           fmt::format("'{}' and '{}' keywords' casing do not match", from.as_keyword, keyword),
           instruction.comments);
  }
  if (!from.name.empty()) CheckDescription(instruction, {from.name});
}

// The last comment before a definition describes it if it begins with its name.
void Linter::CheckDescription(const Instruction& instruction,
                              const std::vector<std::string>& names) {
  if (instruction.comments.empty() || names.empty()) return;
  const std::string& comment = instruction.comments.back();
  const std::string word = comment.substr(0, comment.find(' '));
  if (std::find(names.begin(), names.end(), word) != names.end()) return;
  Report(Rule::kInvalidDefinitionDescription, instruction.lines,
         fmt::format("Comment for {} should follow the format: `# {} <description>`",
                     instruction.keyword, names.size() > 1 ? "<arg_key>" : names[0]),
         instruction.comments);
}

void Linter::CheckStageNames(const Dockerfile& file) {
  std::set<std::string> seen;
  for (const Stage& stage : file.stages) {
    const std::string& name = stage.from.name;
    if (name.empty()) continue;
    if (name == "context" || name == "scratch") {
      Report(Rule::kReservedStageName, stage.head.lines,
             fmt::format("Stage name should not use the same name as reserved stage {}",
                         Quoted(name)));
    }
    if (!seen.insert(name).second) {
      Report(Rule::kDuplicateStageName, stage.head.lines,
             fmt::format("Duplicate stage name {}, stage names should be unique", Quoted(name)));
    }
  }
}

void Linter::CheckKeywordCasing(const Dockerfile& file) {
  int lower = 0;
  int upper = 0;
  ForEachOfStages(file, [&](const Instruction& instruction) {
    const std::string keyword = WrittenKeyword(instruction);
    if (IsLower(keyword)) {
      ++lower;
    } else if (IsUpper(keyword)) {
      ++upper;
    }
  });
  const bool want_lower = lower > upper;
  ForEachOfStages(file, [&](const Instruction& instruction) {
    const std::string keyword = WrittenKeyword(instruction);
    if (want_lower ? IsLower(keyword) : IsUpper(keyword)) return;
    Report(Rule::kConsistentInstructionCasing, instruction.lines,
           fmt::format("Command '{}' should match the case of the command majority ({})", keyword,
                       want_lower ? "lowercase" : "uppercase"));
  });
}

// Base images must be images even if no build argument is given.
void Linter::CheckDefaultBases(const SourceFile& source, const Dockerfile& file,
                               const Variables& automatic) {
  const auto defaults = GlobalVariables(Options(), file, source, automatic);
  if (!defaults.ok()) return;
  ExpandOptions options;
  options.escape = file.escape;
  for (const Stage& stage : file.stages) {
    const auto base = Expand(stage.from.base, LookupIn(*defaults), options);
    if (!base.ok()) return;
    if (oci::Reference::ParseNormalized(base->text).ok()) continue;
    Report(Rule::kInvalidDefaultArgInFrom, stage.head.lines,
           fmt::format("Default value for ARG {} results in empty or invalid base image name",
                       stage.from.base));
  }
}

void Linter::CheckFroms(const Dockerfile& file, const Variables& globals) {
  std::set<std::string> known;
  for (const auto& [name, value] : globals) known.insert(name);
  for (const Instruction& instruction : file.global_args) {
    for (const Arg::Item& item : std::get<Arg>(instruction.body).items) known.insert(item.key);
  }
  for (const Stage& stage : file.stages) {
    // What does not expand fails the conversion: nothing after it is looked at.
    if (!CheckFrom(stage, file.escape, globals, known)) return;
  }
}

bool Linter::CheckFrom(const Stage& stage, char escape, const Variables& globals,
                       const std::set<std::string>& known) {
  const auto base = ExpandOfFrom(stage, stage.from.base, escape, globals, known);
  if (!base.ok() || base->text.empty()) return false;
  if (stage.from.platform.empty()) return true;
  const auto platform = ExpandOfFrom(stage, stage.from.platform, escape, globals, known);
  if (!platform.ok()) return false;
  CheckPlatform(stage, *platform, globals);
  return oci::ParsePlatform(platform->text).ok();
}

void Linter::CheckPlatform(const Stage& stage, const Expanded& platform, const Variables& globals) {
  const auto report = [&](Rule rule, std::string message) {
    Report(rule, stage.head.lines, std::move(message), stage.head.comments);
  };
  constexpr std::string_view kTarget = "TARGETPLATFORM";
  const auto target = globals.find(kTarget);
  if (platform.missing.empty() && platform.used.size() == 1 && platform.used.contains(kTarget) &&
      target != globals.end() && platform.text == target->second) {
    report(Rule::kRedundantTargetPlatform,
           fmt::format("Setting platform to predefined {} in FROM is redundant as this is the "
                       "default behavior",
                       stage.from.platform));
  }
  if (!platform.missing.empty() || !platform.used.empty()) return;
  auto parsed = oci::ParsePlatform(platform.text);
  if (!parsed.ok()) return;
  const oci::Platform constant = oci::Normalize(std::move(parsed).value());
  const std::string& name = stage.from.name;
  if (name.find(constant.os) != std::string::npos ||
      name.find(constant.architecture) != std::string::npos) {
    return;
  }
  report(
      Rule::kFromPlatformFlagConstDisallowed,
      fmt::format("FROM --platform flag should not use constant value {}", Quoted(platform.text)));
}

// Reports what is not defined, also of a text that does not expand.
Result<Expanded> Linter::ExpandOfFrom(const Stage& stage, const std::string& text, char escape,
                                      const Variables& globals,
                                      const std::set<std::string>& known) {
  ExpandOptions options;
  options.escape = escape;
  std::set<std::string> missing;
  const VariableLookup lookup = [&](std::string_view name) -> std::optional<std::string_view> {
    const auto found = globals.find(name);
    if (found != globals.end()) return found->second;
    missing.emplace(name);
    return std::nullopt;
  };
  auto expanded = Expand(text, lookup, options);
  for (const std::string& name : missing) {
    if (known.contains(name) || reported_ >= kMaxFindings) continue;
    std::string message = fmt::format("FROM argument '{}' is not declared", name);
    const std::string nearest = Nearest(name, {known.begin(), known.end()});
    if (!nearest.empty()) message += fmt::format(" (did you mean {}?)", nearest);
    Report(Rule::kUndefinedArgInFrom, stage.head.lines, std::move(message), stage.head.comments);
  }
  return expanded;
}

}  // namespace kiln::dockerfile
