#include "dockerfile/words.h"

#include <cctype>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "dockerfile/characters.h"
#include "dockerfile/unicode_blanks.h"

namespace kiln::dockerfile {
namespace {

std::size_t SkipWideBlanks(std::string_view text, std::size_t at) {
  while (const std::size_t size = BlankAt(text.substr(at))) at += size;
  return at;
}

std::size_t SkipBlanks(std::string_view text, std::size_t at) {
  while (at < text.size() && IsBlank(text[at])) ++at;
  return at;
}

// BuildKit reads flags byte by byte and takes each byte for the character of that number. So do we:
// what a flag means would be another thing otherwise.
bool IsFlagBlank(char c) { return IsBlank(c) || c == '\x85' || c == '\xA0'; }

std::size_t SkipFlagBlanks(std::string_view text, std::size_t at) {
  while (at < text.size() && IsFlagBlank(text[at])) ++at;
  return at;
}

void AppendFlagByte(char c, std::string& word) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte < 0x80) {
    word += c;
  } else {
    word += static_cast<char>(0xC0U | (byte >> 6U));
    word += static_cast<char>(0x80U | (byte & 0x3FU));
  }
}

// Reads one flag word from `at`; an open quote ends with the text.
std::string ReadFlagWord(std::string_view text, std::size_t& at, char escape) {
  std::string word;
  char quote = 0;
  while (at < text.size()) {
    const char c = text[at++];
    if (c == escape) {
      if (at == text.size()) break;
      AppendFlagByte(text[at++], word);
    } else if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else {
        AppendFlagByte(c, word);
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (IsFlagBlank(c)) {
      break;
    } else {
      AppendFlagByte(c, word);
    }
  }
  return word;
}

}  // namespace

SplitInstruction SplitLogicalLine(std::string_view text, char escape) {
  text = TrimBlanks(text);
  SplitInstruction split;
  std::size_t at = 0;
  while (at < text.size() && !IsBlank(text[at])) ++at;
  split.keyword = ToUpper(text.substr(0, at));
  while (true) {
    at = SkipFlagBlanks(text, at);
    if (!text.substr(at).starts_with("--")) break;
    std::string word = ReadFlagWord(text, at, escape);
    if (word == "--") break;
    if (!word.empty()) split.flags.push_back(std::move(word));
  }
  split.rest = std::string(TrimBlanks(text.substr(at)));
  return split;
}

Result<std::optional<std::vector<std::string>>> ParseJsonStrings(std::string_view text) {
  using Found = std::optional<std::vector<std::string>>;
  text = Trim(text);
  if (!text.starts_with('[')) return Found();
  const auto json = nlohmann::json::parse(ToValidUtf8(text), nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return Found();
  std::vector<std::string> strings;
  strings.reserve(json.size());
  for (const auto& element : json) {
    if (!element.is_string()) {
      return Unknown("when using JSON array syntax, arrays must be comprised of strings only");
    }
    strings.push_back(element.get<std::string>());
  }
  return Found(std::move(strings));
}

std::vector<std::string> BlankWords(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t at = SkipBlanks(text, 0); at < text.size(); at = SkipBlanks(text, at)) {
    const std::size_t begin = at;
    while (at < text.size() && !IsBlank(text[at])) ++at;
    words.emplace_back(text.substr(begin, at - begin));
  }
  return words;
}

std::vector<std::string> QuotedWords(std::string_view text, char escape) {
  std::vector<std::string> words;
  std::size_t at = SkipWideBlanks(text, 0);
  while (at < text.size()) {
    std::string word;
    char quote = 0;
    for (; at < text.size() && (quote != 0 || BlankAt(text.substr(at)) == 0); ++at) {
      const char c = text[at];
      if (c == escape && quote != '\'') {
        if (at + 1 == text.size()) continue;  // nothing to escape
        word += c;
        word += text[++at];
        continue;
      }
      if (quote == 0 && (c == '\'' || c == '"')) {
        quote = c;
      } else if (c == quote) {
        quote = 0;
      }
      word += c;
    }
    if (!word.empty()) words.push_back(std::move(word));
    at = SkipWideBlanks(text, at);
  }
  return words;
}

}  // namespace kiln::dockerfile
