#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dockerfile/ast.h"

// Parser directives: `# name=value` lines at the top of a file.
namespace kiln::dockerfile {

struct Directive {
  std::string name;   // lower case
  std::string value;  // without surrounding blanks
};

// The directive a line holds, known or not. Leading blanks are allowed before '#'.
std::optional<Directive> ParseDirectiveLine(std::string_view line);

// Follows the lexer through the top of a file and keeps the `escape` directive.
class DirectiveArea {
 public:
  // Looks at one physical line (without its line end). True if the line was a known directive.
  // Errors: a directive given twice, an escape character that is neither \ nor `.
  Result<bool> Accept(std::string_view line);
  char escape() const { return escape_; }

 private:
  bool open_ = true;
  char escape_ = '\\';
  bool seen_syntax_ = false;
  bool seen_escape_ = false;
  bool seen_check_ = false;
};

struct FoundDirective {
  std::string word;  // up to the first blank
  std::string line;  // the whole value
  LineRange lines;
};

// The `syntax` directive as `# syntax=`, `// syntax=` or member of a file that is one JSON object;
// a first line `#!` is skipped. No error: an unreadable top is no directive.
std::optional<FoundDirective> FindSyntax(std::string_view data);
// The `check` directive.
std::optional<FoundDirective> FindCheck(std::string_view data);

}  // namespace kiln::dockerfile
