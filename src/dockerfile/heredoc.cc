#include "dockerfile/heredoc.h"

#include <cctype>

#include "base/strings.h"

namespace kiln::dockerfile {
namespace {

bool IsBlank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

// Splits at blanks outside quotes; quotes and escapes stay in the words. Blanks right after `<<`
// belong to the word, so that `<< EOF` is one. nullopt on an open quote.
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
    } else if (line.substr(i).starts_with("<<")) {
      word += "<<";
      i += 2;
      while (i < line.size() && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r')) {
        word += line[i++];
      }
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
