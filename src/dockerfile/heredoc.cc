#include "dockerfile/heredoc.h"

#include <algorithm>
#include <cctype>

#include "base/strings.h"
#include "dockerfile/characters.h"

namespace kiln::dockerfile {
namespace {

// No arithmetic is longer: looking for its end takes no more time than that.
constexpr std::size_t kMaxArithmetic = 4096;

// Where the arithmetic `$((…))` that begins at `at` ends. `at` itself: there is none. Parentheses
// that close apart are those of commands.
std::size_t EndOfArithmetic(std::string_view line, std::size_t at) {
  constexpr std::string_view kOpen = "$((";
  if (!line.substr(at).starts_with(kOpen)) return at;
  int depth = 2;
  const std::size_t end = std::min(line.size(), at + kMaxArithmetic);
  for (std::size_t i = at + kOpen.size(); i < end; ++i) {
    if (line[i] == '(') ++depth;
    if (line[i] != ')') continue;
    if (depth == 2) return line.substr(i).starts_with("))") ? i + 2 : at;
    --depth;
  }
  return at;
}

// How long the `<<`, `<<-` and the blanks behind it are that begin at `at`.
std::size_t OperatorSize(std::string_view line, std::size_t at) {
  std::size_t end = at + 2;
  if (end < line.size() && line[end] == '-') ++end;
  while (end < line.size() && (line[end] == ' ' || line[end] == '\t' || line[end] == '\r')) ++end;
  return end - at;
}

// Splits at blanks outside quotes; quotes and escapes stay in the words. Blanks right after `<<`
// belong to the word, so that `<< EOF` is one; a shift in arithmetic is none. nullopt on an open
// quote.
std::optional<std::vector<std::string>> RawWords(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  std::size_t i = 0;
  const auto flush = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  while (i < line.size()) {
    const char c = line[i];
    if (IsBlank(c)) {
      flush();
      ++i;
    } else if (c == '\\') {
      word += line.substr(i, 2);
      i += 2;
    } else if (c == '\'' || c == '"') {
      std::size_t end = i + 1;
      while (end < line.size() && line[end] != c) end += (c == '"' && line[end] == '\\') ? 2 : 1;
      if (end >= line.size()) return std::nullopt;
      word += line.substr(i, end - i + 1);
      i = end + 1;
    } else if (const std::size_t end = EndOfArithmetic(line, i); end > i) {
      word += line.substr(i, end - i);
      i = end;
    } else if (line.substr(i).starts_with("<<")) {
      const std::size_t size = OperatorSize(line, i);
      word += line.substr(i, size);
      i += size;
    } else {
      word += c;
      ++i;
    }
  }
  flush();
  return words;
}

struct Unquoted {
  std::string text;
  bool quoted = false;
};

// Removes quotes and escapes of a heredoc name; nullopt if it is more than one word or a quote
// stays open.
std::optional<Unquoted> UnquoteName(std::string_view raw) {
  Unquoted name;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const char c = raw[i];
    if (c == '\\') {
      if (++i < raw.size()) name.text += raw[i];
    } else if (c == '\'' || c == '"') {
      const auto end = raw.find(c, i + 1);
      if (end == std::string_view::npos) return std::nullopt;
      name.text += raw.substr(i + 1, end - i - 1);
      name.quoted = true;
      i = end;
    } else if (IsBlank(c)) {
      return std::nullopt;
    } else {
      name.text += c;
    }
  }
  return name;
}

}  // namespace

std::optional<Heredoc> ParseHeredocWord(std::string_view word) {
  std::size_t i = 0;
  while (i < word.size() && std::isdigit(static_cast<unsigned char>(word[i])) != 0) ++i;
  const std::string_view fd = word.substr(0, i);
  if (!word.substr(i).starts_with("<<")) return std::nullopt;
  word.remove_prefix(i + 2);
  Heredoc heredoc;
  if (word.starts_with('-')) {
    heredoc.strip_tabs = true;
    word.remove_prefix(1);
  }
  while (!word.empty() && IsBlank(word.front())) word.remove_prefix(1);
  if (word.empty() || word.find('<') != std::string_view::npos) return std::nullopt;
  const auto name = UnquoteName(word);
  if (!name || name->text.empty()) return std::nullopt;
  heredoc.fd = static_cast<int>(ParseUint(fd).value_or(0) & 0xffff);
  heredoc.name = name->text;
  heredoc.expand = !name->quoted;
  return heredoc;
}

std::vector<Heredoc> HeredocsOf(std::string_view line) {
  std::vector<Heredoc> heredocs;
  if (line.find("<<") == std::string_view::npos) return heredocs;
  const auto words = RawWords(line);
  if (!words) return heredocs;
  for (const auto& word : *words) {
    if (auto heredoc = ParseHeredocWord(word)) heredocs.push_back(std::move(*heredoc));
  }
  return heredocs;
}

std::vector<std::string> PathWords(std::string_view text) {
  std::vector<std::string> words;
  std::size_t i = 0;
  while (true) {
    while (i < text.size() && IsBlank(text[i])) ++i;
    if (i == text.size()) return words;
    const std::size_t begin = i;
    while (i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) != 0) ++i;
    const bool document = text.substr(i).starts_with("<<");
    if (document) i += OperatorSize(text, i);
    for (char quote = 0; i < text.size() && (quote != 0 || !IsBlank(text[i])); ++i) {
      // Quotes of paths mean nothing.
      const bool mark = document && (text[i] == '\'' || text[i] == '"');
      if (mark) quote = quote == 0 ? text[i] : quote == text[i] ? 0 : quote;
    }
    words.emplace_back(text.substr(begin, i - begin));
  }
}

std::string ScriptText(const std::string& text) {
  std::size_t end = text.find('\n');
  if (end == std::string::npos) return text;
  for (; end != std::string::npos; end = text.find('\n', end + 1)) {
    if (end == 0 || text[end - 1] != '\r') return text;
  }
  return ReplaceAll(text, "\r\n", "\n");
}

std::string HeredocText(const Heredoc& heredoc) {
  if (!heredoc.strip_tabs) return heredoc.content;
  std::string text;
  text.reserve(heredoc.content.size());
  bool at_start = true;
  for (const char c : heredoc.content) {
    if (at_start && c == '\t') continue;
    at_start = c == '\n';
    text += c;
  }
  return text;
}

}  // namespace kiln::dockerfile
