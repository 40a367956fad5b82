#include "base/csv.h"

#include "base/strings.h"

namespace kiln {
namespace {

// Reads a quoted field whose opening quote was taken; leaves `at` behind the closing one.
Result<std::string> ReadQuoted(std::string_view text, std::size_t& at) {
  std::string field;
  while (at < text.size()) {
    const char c = text[at++];
    if (c != '"') {
      field += c;
    } else if (at < text.size() && text[at] == '"') {
      field += text[at++];
    } else {
      return field;
    }
  }
  return Unknown("quote not closed in {}", Quoted(text));
}

}  // namespace

Result<std::vector<std::string>> ParseCsv(std::string_view text) {
  std::vector<std::string> fields;
  if (text.ends_with('\n')) text.remove_suffix(text.ends_with("\r\n") ? 2 : 1);
  if (text.empty()) return fields;
  std::size_t at = 0;
  while (true) {
    if (at < text.size() && text[at] == '"') {
      ++at;
      TRY_ASSIGN(std::string field, ReadQuoted(text, at));
      if (at < text.size() && text[at] != ',') {
        return Unknown("text after the closing quote in {}", Quoted(text));
      }
      fields.push_back(std::move(field));
    } else {
      const auto end = std::min(text.find(',', at), text.size());
      const std::string_view field = text.substr(at, end - at);
      if (field.find('"') != std::string_view::npos) {
        return Unknown("quote inside an unquoted field in {}", Quoted(text));
      }
      fields.emplace_back(field);
      at = end;
    }
    if (at >= text.size()) return fields;
    ++at;
  }
}

Result<std::vector<std::pair<std::string, std::string>>> ParseKeyValues(std::string_view text) {
  TRY_ASSIGN(const std::vector<std::string> fields, ParseCsv(text));
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& field : fields) {
    const auto cut = Cut(field, "=");
    std::string key = cut ? ToLower(Trim(cut->first)) : "";
    if (key.empty()) return InvalidArgument("invalid value {}: want key=value", Quoted(field));
    pairs.emplace_back(std::move(key), cut->second);
  }
  return pairs;
}

}  // namespace kiln
