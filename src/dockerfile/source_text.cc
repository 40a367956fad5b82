#include "dockerfile/source_text.h"

#include <algorithm>

#include "dockerfile/characters.h"
#include "dockerfile/lexer.h"

namespace kiln::dockerfile {
namespace {

// Reads physical lines one after another.
class Lines {
 public:
  Lines(std::string_view data, const std::vector<std::size_t>& starts, int first)
      : data_(data), starts_(starts), number_(first - 1) {}

  bool AtEnd() const { return static_cast<std::size_t>(number_) + 1 >= starts_.size(); }
  int number() const { return number_; }
  std::size_t begin() const { return starts_[static_cast<std::size_t>(number_) - 1]; }
  std::size_t end() const { return starts_[static_cast<std::size_t>(number_)]; }
  // Without its line end.
  std::string_view Next() {
    ++number_;
    return TrimLineEnd(data_.substr(begin(), end() - begin()));
  }

 private:
  std::string_view data_;
  const std::vector<std::size_t>& starts_;
  int number_;
};

void Append(SourceText& out, std::string_view piece, std::size_t offset) {
  out.text += piece;
  for (std::size_t i = 0; i < piece.size(); ++i) out.offsets.push_back(offset + i);
}

void FindWords(SourceText& out) {
  const std::string& text = out.text;
  for (std::size_t at = 0; at < text.size();) {
    if (IsBlank(text[at])) {
      ++at;
      continue;
    }
    const std::size_t begin = at;
    while (at < text.size() && !IsBlank(text[at])) ++at;
    out.words.push_back({begin, at});
  }
}

}  // namespace

bool SourceText::IsBlank(std::size_t index) const { return dockerfile::IsBlank(text.at(index)); }

bool SourceText::Contiguous(Span span) const {
  return span.begin < span.end && span.end <= offsets.size() &&
         offsets[span.end - 1] - offsets[span.begin] == span.end - 1 - span.begin;
}

std::vector<std::size_t> LineStarts(std::string_view data) {
  std::vector<std::size_t> starts = {data.starts_with(kBom) ? kBom.size() : 0};
  while (starts.back() < data.size()) {
    const auto end = data.find('\n', starts.back());
    starts.push_back(end == std::string_view::npos ? data.size() : end + 1);
  }
  return starts;
}

SourceText TextOf(std::string_view data, const std::vector<std::size_t>& starts, LineRange wanted,
                  char escape) {
  SourceText out;
  Lines lines(data, starts, wanted.first);
  if (wanted.first < 1 || lines.AtEnd()) return out;
  std::string_view line = lines.Next();
  std::size_t offset = lines.begin();
  while (!line.empty() && IsBlank(line.front())) {
    line.remove_prefix(1);
    ++offset;
  }
  bool continued = TakeContinuation(line, escape);
  Append(out, line, offset);
  while (continued && !lines.AtEnd()) {
    std::string_view next = lines.Next();
    std::string_view bare = next;
    while (!bare.empty() && IsBlank(bare.front())) bare.remove_prefix(1);
    if (bare.starts_with('#')) continue;
    if (bare.empty()) {
      out.blank_lines.emplace_back(lines.begin(), lines.end());
      continue;
    }
    continued = TakeContinuation(next, escape);
    Append(out, next, lines.begin());
  }
  while (!out.text.empty() && IsBlank(out.text.back())) {
    out.text.pop_back();
    out.offsets.pop_back();
  }
  out.last_line = lines.number();
  FindWords(out);
  return out;
}

void Edits::Add(std::size_t begin, std::size_t end, std::string text) {
  edits_.push_back({begin, end, std::move(text), edits_.size()});
}

void Edits::Replace(const SourceText& source, SourceText::Span span, std::string text) {
  Add(source.OffsetOf(span.begin), source.OffsetOf(span.end - 1) + 1, std::move(text));
}

void Edits::Recase(const SourceText& source, SourceText::Span span, bool lower) {
  for (std::size_t i = span.begin; i < span.end; ++i) {
    recased_.emplace_back(source.OffsetOf(i), lower);
  }
}

std::string Edits::Apply(std::string data) const {
  for (const auto& [offset, lower] : recased_) {
    const auto c = static_cast<unsigned char>(data.at(offset));
    if (c < 0x80) data[offset] = static_cast<char>(lower ? std::tolower(c) : std::toupper(c));
  }
  std::vector<Edit> sorted = edits_;
  // From the end, so that places stay what they are; at one place the later change stands first.
  std::sort(sorted.begin(), sorted.end(), [](const Edit& a, const Edit& b) {
    return std::pair(a.begin, a.order) > std::pair(b.begin, b.order);
  });
  for (const Edit& edit : sorted) data.replace(edit.begin, edit.end - edit.begin, edit.text);
  return data;
}

}  // namespace kiln::dockerfile
