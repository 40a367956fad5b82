#include "dockerfile/lint_fix.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <tuple>
#include <utility>
#include <variant>

#include "base/strings.h"
#include "dockerfile/parser.h"
#include "dockerfile/source_text.h"

namespace kiln::dockerfile {
namespace {

constexpr std::string_view kAuthors = "org.opencontainers.image.authors=\"";

// A finding's instruction, and the changes that mend it.
struct Place {
  const Instruction& instruction;
  const SourceText& text;
  char escape;
  Edits& edits;
};

std::string WithoutVariables(std::string_view text, char escape) {
  ExpandOptions options;
  options.escape = escape;
  options.keep_unset = true;
  auto expanded = Expand(
      text, [](std::string_view) -> std::optional<std::string_view> { return std::nullopt; },
      options);
  return expanded.ok() ? std::move(expanded->text) : std::string();
}

bool FixKeyword(const Place& place, bool lower) {
  place.edits.Recase(place.text, place.text.words.at(0), lower);
  return true;
}

// FROM … base AS name: the last two words.
bool FixAs(const Place& place, bool) {
  const auto& words = place.text.words;
  if (!std::holds_alternative<From>(place.instruction.body) || words.size() < 4) return false;
  const std::string keyword = WrittenKeyword(place.instruction);
  place.edits.Recase(place.text, words[words.size() - 2], keyword == ToLower(keyword));
  return true;
}

bool FixStageName(const Place& place, bool) {
  const auto& words = place.text.words;
  if (!std::holds_alternative<From>(place.instruction.body) || words.size() < 4) return false;
  place.edits.Recase(place.text, words.back(), /*lower=*/true);
  return true;
}

bool FixMaintainer(const Place& place, bool) {
  const auto& words = place.text.words;
  if (!std::holds_alternative<Maintainer>(place.instruction.body) || words.size() < 2) return false;
  const std::string keyword = WrittenKeyword(place.instruction);
  if (!place.text.Contiguous(words[0])) return false;
  place.edits.Replace(place.text, words[0], keyword == ToLower(keyword) ? "label" : "LABEL");
  place.edits.Insert(place.text.OffsetOf(words[1].begin), std::string(kAuthors));
  // The text was taken as it stands; a label's is not.
  for (std::size_t i = words[1].begin; i < words.back().end; ++i) {
    const char c = place.text.text[i];
    if (c == '"' || c == '$' || c == place.escape) {
      place.edits.Insert(place.text.OffsetOf(i), std::string(1, place.escape));
    }
  }
  place.edits.Insert(place.text.OffsetOf(words.back().end - 1) + 1, "\"");
  return true;
}

// `ENV key some value` → `ENV key="some value"`.
bool FixLegacyPair(const Place& place, bool) {
  const auto* env = std::get_if<Env>(&place.instruction.body);
  const auto* label = std::get_if<Label>(&place.instruction.body);
  const bool legacy = (env != nullptr && env->legacy) || (label != nullptr && label->legacy);
  const auto& words = place.text.words;
  if (!legacy || words.size() < 3 || place.text.text[words[1].begin] == '-') return false;
  const std::string& value = (env != nullptr ? env->pairs : label->pairs).at(0).value;
  const bool quote = words.size() > 3;
  // What is quoted or escaped already would mean something else between quotes.
  if (quote && value.find_first_of(std::string("'\"") + place.escape) != std::string::npos) {
    return false;
  }
  if (quote && WithoutVariables("\"" + value + "\"", place.escape) !=
                   WithoutVariables(value, place.escape)) {
    return false;
  }
  for (std::size_t i = words[1].end; i < words[2].begin; ++i) {
    place.edits.Replace(place.text, {i, i + 1}, i == words[1].end ? "=" : "");
  }
  if (!quote) return true;
  place.edits.Insert(place.text.OffsetOf(words[2].begin), "\"");
  place.edits.Insert(place.text.OffsetOf(words.back().end - 1) + 1, "\"");
  return true;
}

bool FixProtocols(const Place& place, bool) {
  if (!std::holds_alternative<Expose>(place.instruction.body)) return false;
  bool fixed = false;
  for (const SourceText::Span& word : place.text.words) {
    const std::string text = place.text.Of(word);
    const auto slash = text.rfind('/');
    if (slash == std::string::npos) continue;
    const std::string proto = ToLower(text.substr(slash + 1));
    if (proto != "tcp" && proto != "udp" && proto != "sctp") continue;
    place.edits.Recase(place.text, {word.begin + slash + 1, word.end}, /*lower=*/true);
    fixed = true;
  }
  return fixed;
}

bool FixPlatform(const Place& place, bool) {
  if (!std::holds_alternative<From>(place.instruction.body)) return false;
  for (SourceText::Span word : place.text.words) {
    if (!place.text.Of(word).starts_with("--platform=")) continue;
    if (!place.text.Contiguous(word)) return false;
    // With the blanks after it, as far as they stand on its line.
    while (word.end < place.text.text.size() && place.text.IsBlank(word.end) &&
           place.text.Contiguous({word.begin, word.end + 1})) {
      ++word.end;
    }
    place.edits.Replace(place.text, word, "");
    return true;
  }
  return false;
}

bool FixBlankLines(const Place& place, bool) {
  for (const auto& [begin, end] : place.text.blank_lines) place.edits.Erase(begin, end);
  return !place.text.blank_lines.empty();
}

using Fix = bool (*)(const Place& place, bool lower);
struct RuleFix {
  Rule rule;
  Fix fix;
};
constexpr RuleFix kFixes[] = {
    {Rule::kConsistentInstructionCasing, FixKeyword}, {Rule::kFromAsCasing, FixAs},
    {Rule::kStageNameCasing, FixStageName},           {Rule::kMaintainerDeprecated, FixMaintainer},
    {Rule::kLegacyKeyValueFormat, FixLegacyPair},     {Rule::kExposeProtoCasing, FixProtocols},
    {Rule::kRedundantTargetPlatform, FixPlatform},    {Rule::kNoEmptyContinuation, FixBlankLines},
};

Fix FixOf(Rule rule) {
  for (const RuleFix& one : kFixes) {
    if (one.rule == rule) return one.fix;
  }
  return nullptr;
}

std::vector<const Instruction*> InstructionsOf(const Dockerfile& file) {
  std::vector<const Instruction*> all;
  for (const Instruction& instruction : file.global_args) all.push_back(&instruction);
  for (const Stage& stage : file.stages) {
    all.push_back(&stage.head);
    for (const Instruction& instruction : stage.instructions) all.push_back(&instruction);
  }
  return all;
}

// An instruction of a file with its text, if that can be found again.
struct Known {
  const Instruction* instruction;
  SourceText text;
};

bool IsMeant(const Known& known, const Finding& finding) {
  // That of blank lines names the last line of the text they interrupt.
  if (finding.rule->rule == Rule::kNoEmptyContinuation) {
    return known.text.last_line == finding.lines.last && !known.text.blank_lines.empty();
  }
  return known.instruction->lines == finding.lines;
}

}  // namespace

Result<FixedFile> FixFindings(const SourceFile& source, const std::vector<Finding>& findings) {
  TRY_ASSIGN(const Dockerfile file, Parse(source));
  const std::vector<std::size_t> starts = LineStarts(source.data);
  std::vector<Known> all;
  for (const Instruction* instruction : InstructionsOf(file)) {
    SourceText text = TextOf(source.data, starts, instruction->lines, file.escape);
    if (text.text == instruction->original && !text.words.empty()) {
      all.push_back({instruction, std::move(text)});
    }
  }
  FixedFile out;
  Edits edits;
  std::set<std::pair<Rule, int>> done;
  for (const Finding& finding : findings) {
    const Fix fix = FixOf(finding.rule->rule);
    if (fix == nullptr || !done.emplace(finding.rule->rule, finding.lines.first).second) continue;
    const bool lower = finding.message.ends_with("(lowercase)");
    for (const Known& known : all) {
      if (!IsMeant(known, finding)) continue;
      if (fix({*known.instruction, known.text, file.escape, edits}, lower)) ++out.fixed;
      break;
    }
  }
  out.data = edits.Apply(source.data);
  // Nothing but the text of instructions may have changed.
  TRY_ASSIGN_CTX(const Dockerfile again, Parse({source.filename, out.data}), "after mending");
  if (InstructionsOf(again).size() != InstructionsOf(file).size()) {
    return Internal("mending {} would have changed its instructions", source.filename);
  }
  return out;
}

}  // namespace kiln::dockerfile
