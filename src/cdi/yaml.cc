#include "cdi/yaml.h"

#include <yaml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/strings.h"

namespace kiln::cdi {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 5> kNulls = {"", "~", "null", "Null", "NULL"};
constexpr std::array<std::string_view, 11> kTrue = {"y",    "Y",    "yes", "Yes", "YES", "true",
                                                    "True", "TRUE", "on",  "On",  "ON"};
constexpr std::array<std::string_view, 11> kFalse = {"n",     "N",     "no",  "No",  "NO", "false",
                                                     "False", "FALSE", "off", "Off", "OFF"};
constexpr size_t kNodeBytes = 64;  // what one value takes at least

template <typename List>
bool Has(const List& list, std::string_view one) {
  return std::find(list.begin(), list.end(), one) != list.end();
}

std::optional<json> WholeNumber(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    const char letter = ToLower(text.substr(1, 1))[0];
    base = letter == 'x' ? 16 : letter == 'b' ? 2 : 8;
    text.remove_prefix(letter == 'x' || letter == 'b' || letter == 'o' ? 2 : 1);
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!negative) return json(value);
  if (value > uint64_t{1} << 63) return std::nullopt;
  return json(static_cast<int64_t>(~value + 1));
}

std::optional<json> Fraction(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  // Not "inf", "nan" and their like, which from_chars takes too.
  if (digits.empty() || digits.find_first_not_of("0123456789.eE+-") != std::string_view::npos ||
      std::string_view("0123456789.").find(digits[0]) == std::string_view::npos)
    return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return json(value);
}

json PlainScalar(std::string_view text) {
  if (Has(kNulls, text)) return nullptr;
  if (Has(kTrue, text)) return true;
  if (Has(kFalse, text)) return false;
  if (std::string_view("+-.0123456789").find(text[0]) == std::string_view::npos)
    return std::string(text);
  const std::string digits = ReplaceAll(text, "_", "");
  if (auto number = WholeNumber(digits)) return *std::move(number);
  if (auto number = Fraction(digits)) return *std::move(number);
  return std::string(text);
}

// One event of the parser, which owns what it points to.
struct Event {
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { yaml_event_delete(&raw); }
  yaml_event_t raw{};
};

std::string_view Text(const yaml_char_t* text) {
  return text == nullptr ? std::string_view() : reinterpret_cast<const char*>(text);
}

class Reader {
 public:
  Reader(std::string_view text, const YamlLimits& limits) : limits_(limits) {
    ready_ = yaml_parser_initialize(&parser_) == 1;
    if (ready_)
      yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                   text.size());
  }
  ~Reader() {
    if (ready_) yaml_parser_delete(&parser_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  Result<json> Document() {
    if (!ready_) return ResourceExhausted("out of memory");
    while (true) {
      Event event;
      TRY(Next(event));
      if (event.raw.type == YAML_STREAM_END_EVENT) return json(nullptr);
      if (event.raw.type != YAML_STREAM_START_EVENT && event.raw.type != YAML_DOCUMENT_START_EVENT)
        return Node(event.raw, 0);
    }
  }

 private:
  struct Anchored {
    json value;
    size_t memory = 0;
  };

  Status Next(Event& event) {
    if (yaml_parser_parse(&parser_, &event.raw) == 1) return OkStatus();
    return At(parser_.problem_mark.line,
              parser_.problem == nullptr ? "not readable" : parser_.problem);
  }

  static Error At(size_t line, std::string_view problem) {
    return InvalidArgument("line {}: {}", line + 1, problem);
  }

  Status Spend(size_t memory) {
    memory_ += memory;
    if (memory_ > limits_.max_memory) return ResourceExhausted("too large, with its aliases");
    return OkStatus();
  }

  Result<json> Node(const yaml_event_t& event, int depth) {
    if (depth > limits_.max_depth) return At(event.start_mark.line, "nested too deep");
    TRY(Spend(kNodeBytes));
    const size_t before = memory_;
    json value;
    std::string_view anchor;
    if (event.type == YAML_ALIAS_EVENT) {
      return Alias(event);
    } else if (event.type == YAML_SCALAR_EVENT) {
      anchor = Text(event.data.scalar.anchor);
      TRY_ASSIGN(value, Scalar(event));
    } else if (event.type == YAML_SEQUENCE_START_EVENT) {
      anchor = Text(event.data.sequence_start.anchor);
      TRY_ASSIGN(value, Sequence(depth));
    } else if (event.type == YAML_MAPPING_START_EVENT) {
      anchor = Text(event.data.mapping_start.anchor);
      TRY_ASSIGN(value, Mapping(depth));
    } else {
      return At(event.start_mark.line, "a value is missing");
    }
    if (!anchor.empty()) {
      const size_t memory = memory_ - before + kNodeBytes;
      TRY(Spend(memory));
      anchors_[std::string(anchor)] = {value, memory};
    }
    return value;
  }

  Result<json> Alias(const yaml_event_t& event) {
    const auto found = anchors_.find(Text(event.data.alias.anchor));
    if (found == anchors_.end()) {
      return At(event.start_mark.line,
                fmt::format("unknown anchor {}", Quoted(Text(event.data.alias.anchor))));
    }
    TRY(Spend(found->second.memory));
    return found->second.value;
  }

  Result<json> Scalar(const yaml_event_t& event) {
    const auto& scalar = event.data.scalar;
    TRY(Spend(scalar.length));
    const std::string_view text(reinterpret_cast<const char*>(scalar.value), scalar.length);
    const std::string_view tag = Text(scalar.tag);
    if (tag.empty() && scalar.plain_implicit == 1) return PlainScalar(text);
    if (tag.empty() || tag == "!" || tag == YAML_STR_TAG) return json(std::string(text));
    for (const char* known : {YAML_NULL_TAG, YAML_BOOL_TAG, YAML_INT_TAG, YAML_FLOAT_TAG}) {
      if (tag == known) return PlainScalar(text);
    }
    return At(event.start_mark.line, fmt::format("tag {} is not supported", Quoted(tag)));
  }

  Result<json> Sequence(int depth) {
    json list = json::array();
    while (true) {
      Event event;
      TRY(Next(event));
      if (event.raw.type == YAML_SEQUENCE_END_EVENT) return list;
      TRY_ASSIGN(json value, Node(event.raw, depth + 1));
      list.push_back(std::move(value));
    }
  }

  Result<json> Mapping(int depth) {
    json object = json::object();
    while (true) {
      Event event;
      TRY(Next(event));
      if (event.raw.type == YAML_MAPPING_END_EVENT) return object;
      const size_t line = event.raw.start_mark.line;
      TRY_ASSIGN(const json key, Node(event.raw, depth + 1));
      if (key.is_structured() || key.is_null()) return At(line, "a key must be a text");
      const std::string name = key.is_string() ? key.get<std::string>() : key.dump();
      if (name == "<<") return At(line, "merge keys (<<) are not supported");
      if (object.contains(name)) return At(line, fmt::format("key {} comes twice", Quoted(name)));
      Event next;
      TRY(Next(next));
      TRY_ASSIGN(object[name], Node(next.raw, depth + 1));
    }
  }

  const YamlLimits limits_;
  yaml_parser_t parser_{};
  bool ready_ = false;
  size_t memory_ = 0;
  std::map<std::string, Anchored, std::less<>> anchors_;
};

}  // namespace

Result<json> ParseYaml(std::string_view text, const YamlLimits& limits) {
  return Reader(text, limits).Document();
}

}  // namespace kiln::cdi
