#include "oci/json.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"

namespace kiln::oci {
namespace {

// The deepest nesting of the text, strings skipped. Cheap, and never recurses.
int NestingDepth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

constexpr char kHex[] = "0123456789abcdef";

void AppendEscaped(std::string& out, unsigned char c) {
  out += "\\u00";
  out += kHex[c >> 4];
  out += kHex[c & 0xf];
}

void AppendAscii(std::string& out, unsigned char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '<':
    case '>':
    case '&':
      AppendEscaped(out, c);
      return;
    default:
      break;
  }
  if (c < 0x20) {
    AppendEscaped(out, c);
  } else {
    out += static_cast<char>(c);
  }
}

// The length of the well-formed UTF-8 sequence at the start of `text`, or 0.
size_t Utf8Length(std::string_view text) {
  const auto at = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto tail = [&](size_t i) { return (at(i) & 0xc0U) == 0x80U; };
  const unsigned c = at(0);
  if (c >= 0xc2 && c <= 0xdf) return tail(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    const bool shortest = c != 0xe0 || at(1) >= 0xa0;
    const bool no_surrogate = c != 0xed || at(1) < 0xa0;
    return shortest && no_surrogate && tail(1) && tail(2) ? 3 : 0;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    const bool shortest = c != 0xf0 || at(1) >= 0x90;
    const bool in_range = c != 0xf4 || at(1) < 0x90;
    return shortest && in_range && tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

Result<nlohmann::json> ParseJson(std::string_view text, std::string_view what, JsonLimits limits) {
  if (text.size() > limits.max_bytes) {
    return InvalidArgument("{} has {} bytes, more than the {} allowed", what, text.size(),
                           limits.max_bytes);
  }
  if (NestingDepth(text) > limits.max_depth) {
    return InvalidArgument("{} is nested deeper than {} levels", what, limits.max_depth);
  }
  nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return InvalidArgument("{} is not valid JSON", what);
  return value;
}

void AppendGoJsonString(std::string& out, std::string_view text) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      AppendAscii(out, c);
      ++i;
      continue;
    }
    const size_t length = Utf8Length(text.substr(i));
    if (length == 0) {
      out += "\\ufffd";
      ++i;
      continue;
    }
    const std::string_view rune = text.substr(i, length);
    if (rune == "\xe2\x80\xa8" || rune == "\xe2\x80\xa9") {
      out += rune.back() == '\xa8' ? "\\u2028" : "\\u2029";
    } else {
      out += rune;
    }
    i += length;
  }
  out += '"';
}

void JsonWriter::NewLine() {
  if (indent_ == 0) return;
  out_ += '\n';
  out_.append(levels_.size() * static_cast<size_t>(indent_), ' ');
}

void JsonWriter::BeforeValue() {
  if (std::exchange(after_key_, false) || levels_.empty()) return;
  if (!std::exchange(levels_.back().empty, false)) out_ += ',';
  NewLine();
}

void JsonWriter::Begin(char open) {
  BeforeValue();
  out_ += open;
  levels_.emplace_back();
}

void JsonWriter::End(char close) {
  CHECK(!levels_.empty());
  const bool empty = levels_.back().empty;
  levels_.pop_back();
  if (!empty) NewLine();
  out_ += close;
}

JsonWriter& JsonWriter::BeginObject() {
  Begin('{');
  return *this;
}

JsonWriter& JsonWriter::EndObject() {
  End('}');
  return *this;
}

JsonWriter& JsonWriter::BeginArray() {
  Begin('[');
  return *this;
}

JsonWriter& JsonWriter::EndArray() {
  End(']');
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view key) {
  BeforeValue();
  AppendGoJsonString(out_, key);
  out_ += indent_ == 0 ? ":" : ": ";
  after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::String(std::string_view value) {
  BeforeValue();
  AppendGoJsonString(out_, value);
  return *this;
}

JsonWriter& JsonWriter::Int(int64_t value) { return Raw(std::to_string(value)); }

JsonWriter& JsonWriter::Bool(bool value) { return Raw(value ? "true" : "false"); }

JsonWriter& JsonWriter::Null() { return Raw("null"); }

JsonWriter& JsonWriter::Raw(std::string_view json) {
  BeforeValue();
  out_ += json;
  return *this;
}

// Recurses; trees come from ParseJson, which limits their depth.
// NOLINTNEXTLINE(misc-no-recursion)
JsonWriter& JsonWriter::Value(const nlohmann::json& value) {
  if (value.is_object()) {
    BeginObject();
    for (const auto& item : value.items()) {
      Key(item.key());
      Value(item.value());
    }
    return EndObject();
  }
  if (value.is_array()) {
    BeginArray();
    for (const auto& item : value) Value(item);
    return EndArray();
  }
  if (value.is_string()) return String(value.get_ref<const std::string&>());
  return Raw(value.dump());
}

std::string JsonWriter::Take() {
  CHECK(levels_.empty());
  return std::exchange(out_, {});
}

}  // namespace kiln::oci
