#include "dockerfile/parser.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "dockerfile/errors.h"
#include "dockerfile/parse_instruction.h"
#include "dockerfile/suggest.h"
#include "dockerfile/words.h"

namespace kiln::dockerfile {
namespace {

Error UnknownInstruction(std::string_view keyword) {
  std::vector<std::string> names;
  // In the case of what was written.
  const bool upper = keyword == ToUpper(keyword);
  for (const InstructionSpec& spec : InstructionSpecs())
    names.push_back(upper ? ToUpper(spec.keyword) : ToLower(spec.keyword));
  return Unknown("unknown instruction: {}{}", keyword, DidYouMean(keyword, names));
}

// What build checks look at before FROM and MAINTAINER are parsed: their words.
std::optional<Instruction> WordsOf(const LogicalLine& line, char escape) {
  const std::string_view keyword =
      std::string_view(line.text).substr(0, line.text.find_first_of(" \t\v\f\r"));
  const bool from = EqualsIgnoreCase(keyword, "FROM");
  if (!from && !EqualsIgnoreCase(keyword, "MAINTAINER")) return std::nullopt;
  Instruction instruction;
  instruction.keyword = ToUpper(keyword);
  instruction.original = line.text;
  instruction.lines = line.lines;
  instruction.comments = line.comments;
  instruction.body = Maintainer();
  if (!from) return instruction;
  From body;
  const auto words = BlankWords(SplitLogicalLine(line.text, escape).rest);
  if (words.size() > 2) body.as_keyword = words[1];
  if (words.size() == 3) body.name_as_written = words[2];
  instruction.body = std::move(body);
  return instruction;
}

// Puts an instruction where it belongs: a new stage, the current one, or before all of them.
Status Place(Instruction instruction, Dockerfile& file) {
  if (const auto* from = std::get_if<From>(&instruction.body)) {
    Stage stage;
    stage.from = *from;
    stage.index = static_cast<int>(file.stages.size());
    stage.head = std::move(instruction);
    file.stages.push_back(std::move(stage));
    return OkStatus();
  }
  if (!file.stages.empty()) {
    file.stages.back().instructions.push_back(std::move(instruction));
    return OkStatus();
  }
  if (!std::holds_alternative<Arg>(instruction.body)) {
    file.failed = std::move(instruction);
    return Unknown("no build stage in current context");
  }
  file.global_args.push_back(std::move(instruction));
  return OkStatus();
}

}  // namespace

Result<Instruction> ParseInstruction(LogicalLine line, char escape) {
  SplitInstruction split = SplitLogicalLine(line.text, escape);
  const InstructionSpec* spec = FindInstruction(split.keyword);
  if (spec == nullptr) {
    return UnknownInstruction(line.text.substr(0, line.text.find_first_of(" \t")));
  }
  ParseInput input;
  input.keyword = std::move(split.keyword);
  if (!spec->ignores_flags) {
    TRY_ASSIGN(input.flags, Flags::Parse(spec->flags, split.flags));
  }
  input.rest = std::move(split.rest);
  input.heredocs = std::move(line.heredocs);
  input.escape = escape;
  Instruction instruction;
  instruction.keyword = input.keyword;
  TRY_ASSIGN(instruction.body, spec->parse(input));
  instruction.original =
      std::holds_alternative<Run>(instruction.body) ? std::move(line.text) : ToValidUtf8(line.text);
  instruction.lines = line.lines;
  instruction.comments = std::move(line.comments);
  return instruction;
}

Result<Dockerfile> Parse(const SourceFile& file) {
  Dockerfile out;
  TRY(ParseInto(file, out));
  return out;
}

Status ParseInto(const SourceFile& file, Dockerfile& out) {
  TRY_ASSIGN(LexedFile lexed, Lex(file));
  out.escape = lexed.escape;
  out.empty_continuations = std::move(lexed.empty_continuations);
  for (LogicalLine& line : lexed.lines) {
    const LineRange lines = line.lines;
    std::optional<Instruction> words = WordsOf(line, out.escape);
    auto instruction = ParseInstruction(std::move(line), out.escape);
    if (!instruction.ok()) {
      out.failed = std::move(words);
      Error error = std::move(instruction).error();
      error.AddContext(fmt::format("dockerfile parse error on line {}", lines.first));
      return WithSource(std::move(error), file, lines);
    }
    TRY(WithSource(Place(std::move(instruction).value(), out), file, lines));
  }
  if (out.stages.empty()) {
    return Unknown("dockerfile contains no stages to build");
  }
  return OkStatus();
}

Result<Instruction> ParseTrigger(std::string_view text, char escape) {
  TRY_ASSIGN(LogicalLine line, LexInstruction(text, escape));
  TRY_ASSIGN(Instruction instruction, ParseInstruction(std::move(line), escape));
  if (instruction.keyword == "ONBUILD") {
    return Unknown("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  }
  if (instruction.keyword == "FROM" || instruction.keyword == "MAINTAINER") {
    return Unknown("{} isn't allowed as an ONBUILD trigger", instruction.keyword);
  }
  return instruction;
}

}  // namespace kiln::dockerfile
