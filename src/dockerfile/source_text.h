#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dockerfile/ast.h"

// Where the text of an instruction stands in its file, and changes of it.
namespace kiln::dockerfile {

// The logical line of an instruction, each character with its place.
struct SourceText {
  struct Span {
    std::size_t begin = 0;
    std::size_t end = 0;  // one past the last
  };
  std::string text;
  std::vector<std::size_t> offsets;  // in the file, one per character of `text`
  std::vector<Span> words;           // between blanks
  // Physical lines that are blank although the instruction goes on, with their ends.
  std::vector<std::pair<std::size_t, std::size_t>> blank_lines;
  int last_line = 0;  // heredoc bodies not counted

  std::string Of(Span span) const { return text.substr(span.begin, span.end - span.begin); }
  std::size_t OffsetOf(std::size_t index) const { return offsets.at(index); }
  bool IsBlank(std::size_t index) const;
  // Whether a span stands on one physical line.
  bool Contiguous(Span span) const;
};

// Where each line of a file begins, and its end; a byte order mark is left out.
std::vector<std::size_t> LineStarts(std::string_view data);

// Of the instruction at `lines`, as the lexer reads it. `starts` are LineStarts of `data`.
SourceText TextOf(std::string_view data, const std::vector<std::size_t>& starts, LineRange lines,
                  char escape);

// Changes of a file, collected and then made at once.
class Edits {
 public:
  void Insert(std::size_t offset, std::string text) { Add(offset, offset, std::move(text)); }
  void Erase(std::size_t begin, std::size_t end) { Add(begin, end, ""); }
  // A span that stands on one line.
  void Replace(const SourceText& source, SourceText::Span span, std::string text);
  void Recase(const SourceText& source, SourceText::Span span, bool lower);

  std::string Apply(std::string data) const;

 private:
  struct Edit {
    std::size_t begin;
    std::size_t end;
    std::string text;
    std::size_t order;
  };
  void Add(std::size_t begin, std::size_t end, std::string text);

  std::vector<Edit> edits_;
  std::vector<std::pair<std::size_t, bool>> recased_;  // offset, to lower case
};

}  // namespace kiln::dockerfile
