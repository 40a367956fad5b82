#include "dockerfile/directives.h"

#include <cctype>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "dockerfile/characters.h"

namespace kiln::dockerfile {
namespace {

// name[blanks]=[blanks]value, name alphanumeric and beginning with a letter, value not empty.
std::optional<Directive> ParseAssignment(std::string_view text) {
  const auto cut = Cut(text, "=");
  if (!cut) return std::nullopt;
  const std::string_view name = Trim(cut->first);
  const std::string_view value = Trim(cut->second);
  if (name.empty() || value.empty()) return std::nullopt;
  if (std::isalpha(static_cast<unsigned char>(name.front())) == 0) return std::nullopt;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) return std::nullopt;
  }
  return Directive{ToLower(name), std::string(value)};
}

std::optional<FoundDirective> FindAfterMarker(std::string_view data, std::string_view marker,
                                              std::string_view name) {
  if (data.starts_with(kBom)) data.remove_prefix(kBom.size());
  for (int line_number = 1; !data.empty(); ++line_number) {
    const auto end = data.find('\n');
    std::string_view line = data.substr(0, end);
    data.remove_prefix(end == std::string_view::npos ? data.size() : end + 1);
    if (line_number == 1 && line.starts_with("#!")) continue;
    if (!line.starts_with(marker)) return std::nullopt;
    const auto directive = ParseAssignment(line.substr(marker.size()));
    if (!directive) return std::nullopt;
    if (directive->name == name) {
      const std::string& value = directive->value;
      return FoundDirective{value.substr(0, value.find(' ')), value, {line_number, line_number}};
    }
    if (directive->name != "syntax" && directive->name != "escape" && directive->name != "check") {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<FoundDirective> FindInJson(std::string_view data) {
  const std::string_view trimmed = Trim(data);
  if (!trimmed.starts_with('{') || !trimmed.ends_with('}')) return std::nullopt;
  const auto json = nlohmann::json::parse(trimmed, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto syntax = json.find("syntax");
  if (syntax == json.end() || !syntax->is_string()) return std::nullopt;
  const auto value = syntax->get<std::string>();
  if (value.empty()) return std::nullopt;
  return FoundDirective{value.substr(0, value.find(' ')), value, {1, 1}};
}

}  // namespace

std::optional<Directive> ParseDirectiveLine(std::string_view line) {
  while (!line.empty() && IsBlank(line.front())) line.remove_prefix(1);
  if (!line.starts_with('#')) return std::nullopt;
  return ParseAssignment(line.substr(1));
}

Result<bool> DirectiveArea::Accept(std::string_view line) {
  if (!open_) return false;
  const auto directive = ParseDirectiveLine(line);
  bool* seen = nullptr;
  if (directive && directive->name == "syntax") seen = &seen_syntax_;
  if (directive && directive->name == "escape") seen = &seen_escape_;
  if (directive && directive->name == "check") seen = &seen_check_;
  if (seen == nullptr) {
    open_ = false;
    return false;
  }
  if (*seen) return Unknown("only one {} parser directive can be used", directive->name);
  *seen = true;
  if (directive->name == "escape") {
    if (directive->value != "\\" && directive->value != "`") {
      return Unknown("invalid escape token '{}' does not match ` or \\", directive->value);
    }
    escape_ = directive->value.front();
  }
  return true;
}

std::optional<FoundDirective> FindSyntax(std::string_view data) {
  if (auto found = FindAfterMarker(data, "#", "syntax")) return found;
  if (auto found = FindAfterMarker(data, "//", "syntax")) return found;
  return FindInJson(data);
}

std::optional<FoundDirective> FindCheck(std::string_view data) {
  return FindAfterMarker(data, "#", "check");
}

}  // namespace kiln::dockerfile
