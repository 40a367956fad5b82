#include "dockerfile/lexer.h"

#include <optional>
#include <string_view>
#include <utility>

#include "base/strings.h"
#include "dockerfile/characters.h"
#include "dockerfile/directives.h"
#include "dockerfile/errors.h"
#include "dockerfile/grammar.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/unicode_blanks.h"
#include "dockerfile/words.h"

namespace kiln::dockerfile {
namespace {

// JSON forms hold no heredoc; of the others only three instructions do.
bool MayHoldHeredoc(std::string_view text, char escape) {
  SplitInstruction split = SplitLogicalLine(text, escape);
  if (split.keyword == "ONBUILD") split = SplitLogicalLine(split.rest, escape);
  if (split.keyword != "RUN" && split.keyword != "COPY" && split.keyword != "ADD") return false;
  const auto json = ParseJsonStrings(split.rest);
  return json.ok() && !json->has_value();
}

// Words are text, in which what is no UTF-8 becomes U+FFFD. What a shell gets are bytes: RUN
// refuses such that no definition can hold, the history shows those of the others escaped.
bool IsForShell(std::string_view text) {
  const auto end = text.find_first_of(" \t\v\f\r\n");
  const std::string keyword = ToUpper(text.substr(0, end));
  return keyword == "RUN" || keyword == "CMD" || keyword == "ENTRYPOINT";
}

class Lexer {
 public:
  explicit Lexer(std::string_view data) : left_(data) {
    if (left_.starts_with(kBom)) left_.remove_prefix(kBom.size());
  }

  Result<LexedFile> Run(std::optional<char> fixed_escape) {
    while (!left_.empty()) TRY(Step(fixed_escape));
    if (out_.lines.empty()) return Unknown("file with no instructions");
    return std::move(out_);
  }

  // The lines being read when Run() failed.
  LineRange place() const { return {start_ > 0 ? start_ : number_, number_}; }

 private:
  // The next physical line with its line end.
  Result<std::string_view> Next() {
    const auto end = left_.find('\n');
    const std::size_t size = end == std::string_view::npos ? left_.size() : end + 1;
    const std::string_view line = left_.substr(0, size);
    left_.remove_prefix(size);
    ++number_;
    if (TrimLineEnd(line).size() > kMaxPhysicalLine) {
      return Unknown("dockerfile line greater than max allowed size of {}", kMaxPhysicalLine);
    }
    return line;
  }

  Status Step(std::optional<char> fixed_escape) {
    start_ = 0;
    TRY_ASSIGN(std::string_view line, Next());
    line = TrimLineEnd(line);
    if (fixed_escape) {
      out_.escape = *fixed_escape;
    } else {
      const Result<bool> directive = directives_.Accept(line);
      if (!directive.ok()) {
        --number_;  // BuildKit has not counted the line yet
        return directive.error();
      }
      out_.escape = directives_.escape();
      if (*directive) return OkStatus();
    }
    line = TrimBlanksLeft(line);
    if (line.empty()) return OkStatus();
    if (line.starts_with('#')) {
      const std::string_view comment = TrimBlanks(line.substr(1));
      if (comment.empty()) {
        comments_.clear();
      } else {
        comments_.push_back(ToValidUtf8(comment));
      }
      return OkStatus();
    }
    return Instruction(line);
  }

  Status Instruction(std::string_view line) {
    start_ = number_;
    LogicalLine logical;
    bool gap = false;
    bool continued = TakeContinuation(line, out_.escape);
    logical.text = line;
    while (continued && !left_.empty()) {
      TRY_ASSIGN(std::string_view next, Next());
      next = TrimLineEnd(next);
      const std::string_view bare = TrimBlanksLeft(next);
      if (bare.starts_with('#')) continue;
      if (bare.empty()) {
        gap = true;
        continue;
      }
      continued = TakeContinuation(next, out_.escape);
      logical.text += next;
    }
    logical.text = std::string(TrimBlanks(logical.text));
    if (!IsForShell(logical.text)) logical.text = ToValidUtf8(logical.text);
    TRY(CheckGrammar(logical.text, out_.escape));
    if (gap) out_.empty_continuations.push_back({start_, number_});
    if (logical.text.find("<<") != std::string::npos && MayHoldHeredoc(logical.text, out_.escape)) {
      logical.heredocs = HeredocsOf(logical.text);
      for (auto& heredoc : logical.heredocs) TRY(ReadBody(heredoc));
    }
    logical.lines = {start_, number_};
    logical.comments = std::exchange(comments_, {});
    out_.lines.push_back(std::move(logical));
    return OkStatus();
  }

  Status ReadBody(Heredoc& heredoc) {
    while (!left_.empty()) {
      const auto next = Next();
      if (!next.ok()) {
        --number_;  // such a line counts as the end of the file
        break;
      }
      const std::string_view line = *next;
      std::string_view end = TrimLineEnd(line);
      while (heredoc.strip_tabs && end.starts_with('\t')) end.remove_prefix(1);
      if (end == heredoc.name || ToValidUtf8(end) == heredoc.name) return OkStatus();
      heredoc.content += line;
    }
    return Unknown("unterminated heredoc");
  }

  std::string_view left_;
  int number_ = 0;  // of the physical line read last
  int start_ = 0;   // of the instruction being read, 0 outside
  DirectiveArea directives_;
  std::vector<std::string> comments_;
  LexedFile out_;
};

}  // namespace

std::string_view TrimLineEnd(std::string_view line) {
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool TakeContinuation(std::string_view& line, char escape) {
  std::string_view text = line;
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  if (!text.ends_with(escape)) return false;
  text.remove_suffix(1);
  if (text.ends_with(escape)) return false;
  line = text;
  return true;
}

Result<LexedFile> Lex(const SourceFile& file) {
  if (file.data.empty()) return Unknown("the Dockerfile cannot be empty");
  Lexer lexer(file.data);
  Result<LexedFile> lexed = lexer.Run(std::nullopt);
  return WithSource(std::move(lexed), file, lexer.place());
}

Result<LogicalLine> LexInstruction(std::string_view text, char escape) {
  TRY_ASSIGN(LexedFile lexed, Lexer(text).Run(escape));
  if (lexed.lines.size() != 1) {
    return Unknown("expected one instruction, found {}: {}", lexed.lines.size(), Quoted(text));
  }
  return std::move(lexed.lines.front());
}

}  // namespace kiln::dockerfile
