#include "cdi/yaml.h"

#include <yaml.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "base/lists.h"
#include "base/strings.h"

namespace kiln::cdi {
namespace {

using Kind = YamlValue::Kind;

constexpr std::array<std::string_view, 5> kNulls = {"", "~", "null", "Null", "NULL"};
constexpr std::array<std::string_view, 4> kScalarTags = {YAML_NULL_TAG, YAML_BOOL_TAG, YAML_INT_TAG,
                                                         YAML_FLOAT_TAG};
constexpr size_t kNodeBytes = 128;  // what one value takes at least

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

  Result<YamlValue> Document() {
    if (!ready_) return ResourceExhausted("out of memory");
    while (true) {
      Event event;
      TRY(Next(event));
      if (event.raw.type == YAML_STREAM_END_EVENT) return YamlValue();
      if (event.raw.type != YAML_STREAM_START_EVENT && event.raw.type != YAML_DOCUMENT_START_EVENT)
        return Node(event.raw, 0);
    }
  }

 private:
  struct Anchored {
    YamlValue value;
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

  Result<YamlValue> Node(const yaml_event_t& event, int depth) {
    if (depth > limits_.max_depth) return At(event.start_mark.line, "nested too deep");
    TRY(Spend(kNodeBytes));
    const size_t before = memory_;
    YamlValue value;
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

  Result<YamlValue> Alias(const yaml_event_t& event) {
    const auto found = anchors_.find(Text(event.data.alias.anchor));
    if (found == anchors_.end()) {
      return At(event.start_mark.line,
                fmt::format("unknown anchor {}", Quoted(Text(event.data.alias.anchor))));
    }
    TRY(Spend(found->second.memory));
    return found->second.value;
  }

  Result<YamlValue> Scalar(const yaml_event_t& event) {
    const auto& scalar = event.data.scalar;
    TRY(Spend(scalar.length));
    const std::string_view tag = Text(scalar.tag);
    YamlValue value;
    value.kind = Kind::kScalar;
    value.text.assign(reinterpret_cast<const char*>(scalar.value), scalar.length);
    value.plain = (tag.empty() && scalar.plain_implicit == 1) || Contains(kScalarTags, tag);
    if (!value.plain && !tag.empty() && tag != "!" && tag != YAML_STR_TAG)
      return At(event.start_mark.line, fmt::format("tag {} is not supported", Quoted(tag)));
    if (value.plain && Contains(kNulls, value.text)) return YamlValue();
    return value;
  }

  Result<YamlValue> Sequence(int depth) {
    YamlValue list;
    list.kind = Kind::kList;
    while (true) {
      Event event;
      TRY(Next(event));
      if (event.raw.type == YAML_SEQUENCE_END_EVENT) return list;
      TRY_ASSIGN(YamlValue value, Node(event.raw, depth + 1));
      list.values.push_back(std::move(value));
    }
  }

  Result<YamlValue> Mapping(int depth) {
    YamlValue map;
    map.kind = Kind::kMap;
    std::set<std::string> known;
    while (true) {
      Event event;
      TRY(Next(event));
      if (event.raw.type == YAML_MAPPING_END_EVENT) return map;
      const size_t line = event.raw.start_mark.line;
      TRY_ASSIGN(YamlValue key, Node(event.raw, depth + 1));
      if (key.kind != Kind::kScalar) return At(line, "a key must be a text");
      if (key.plain && key.text == "<<") return At(line, "merge keys (<<) are not supported");
      if (!known.insert(key.text).second)
        return At(line, fmt::format("key {} comes twice", Quoted(key.text)));
      Event next;
      TRY(Next(next));
      TRY_ASSIGN(YamlValue value, Node(next.raw, depth + 1));
      map.keys.push_back(std::move(key.text));
      map.values.push_back(std::move(value));
    }
  }

  const YamlLimits limits_;
  yaml_parser_t parser_{};
  bool ready_ = false;
  size_t memory_ = 0;
  std::map<std::string, Anchored, std::less<>> anchors_;
};

}  // namespace

Result<YamlValue> ParseYaml(std::string_view text, const YamlLimits& limits) {
  return Reader(text, limits).Document();
}

}  // namespace kiln::cdi
