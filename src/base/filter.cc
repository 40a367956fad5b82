#include "base/filter.h"

#include <re2/re2.h>

#include "base/strings.h"

namespace kiln {

class Filter::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::vector<Selector>> Run() {
    std::vector<Selector> selectors;
    for (;;) {
      TRY_ASSIGN(auto selector, TakeSelector());
      selectors.push_back(std::move(selector));
      if (at_ == text_.size()) return selectors;
      if (text_[at_] != ',') return Bad("expected ','");
      ++at_;
    }
  }

 private:
  Error Bad(std::string_view what) const {
    return InvalidArgument("invalid filter {} at position {}: {}", Quoted(text_), at_, what);
  }

  Result<Selector> TakeSelector() {
    Selector selector;
    for (;;) {
      TRY_ASSIGN(auto field, TakeWord(".,=!~"));
      if (field.empty()) return Bad("expected a field");
      selector.path.push_back(std::move(field));
      if (at_ >= text_.size() || text_[at_] != '.') break;
      ++at_;
    }
    if (at_ >= text_.size() || text_[at_] == ',') return selector;
    auto op = text_.substr(at_, 2);
    if (op == "==") {
      selector.op = Operator::kEqual;
    } else if (op == "!=") {
      selector.op = Operator::kNotEqual;
    } else if (op == "~=") {
      selector.op = Operator::kRegex;
    } else {
      return Bad("expected ==, != or ~=");
    }
    at_ += 2;
    TRY_ASSIGN(selector.value, TakeWord(","));
    if (selector.op == Operator::kRegex) {
      RE2 regex(selector.value, RE2::Quiet);
      if (!regex.ok()) return Bad("invalid regular expression: " + regex.error());
    }
    return selector;
  }

  // A word up to one of `ends`, or a double-quoted one with backslash escapes.
  Result<std::string> TakeWord(std::string_view ends) {
    if (at_ < text_.size() && text_[at_] == '"') return TakeQuoted();
    size_t end = std::min(text_.find_first_of(ends, at_), text_.size());
    std::string word(text_.substr(at_, end - at_));
    at_ = end;
    return word;
  }

  Result<std::string> TakeQuoted() {
    std::string word;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '"') {
        ++at_;
        return word;
      }
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      word.push_back(text_[at_]);
    }
    return Bad("unterminated quote");
  }

  std::string_view text_;
  size_t at_ = 0;
};

bool Filter::Selector::Holds(const FieldLookup& lookup) const {
  auto have = lookup(path);
  switch (op) {
    case Operator::kPresent:
      return have.has_value();
    case Operator::kEqual:
      return have == value;
    case Operator::kNotEqual:
      return have != value;
    case Operator::kRegex:
      return have && RE2::PartialMatch(*have, value);
  }
  return false;
}

Result<Filter> Filter::Parse(const std::vector<std::string>& expressions) {
  Filter filter;
  for (const auto& expression : expressions) {
    if (Trim(expression).empty()) return Filter();
    TRY_ASSIGN(auto selectors, Parser(expression).Run());
    filter.alternatives_.push_back(std::move(selectors));
  }
  return filter;
}

bool Filter::Matches(const FieldLookup& lookup) const {
  if (alternatives_.empty()) return true;
  for (const auto& selectors : alternatives_) {
    bool all = true;
    for (const auto& selector : selectors) all = all && selector.Holds(lookup);
    if (all) return true;
  }
  return false;
}

}  // namespace kiln
