#include "dockerfile/parser.h"

#include <fmt/format.h>

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
  for (const InstructionSpec& spec : InstructionSpecs()) names.emplace_back(spec.keyword);
  return Unknown("unknown instruction: {}{}", keyword, DidYouMean(keyword, names));
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
  instruction.original = std::move(line.text);
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
    auto instruction = ParseInstruction(std::move(line), out.escape);
    if (!instruction.ok()) {
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
