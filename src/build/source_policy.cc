#include "build/source_policy.h"

#include <re2/re2.h>

#include <optional>
#include <utility>

#include "base/strings.h"

namespace kiln::build {
namespace {

namespace spb = ::moby::buildkit::v1::sourcepolicy;

constexpr int kMaxMutations = 21;
// A rule may double what it is given, and its result is given to it again.
constexpr size_t kMaxIdentifierBytes = 64 << 10;
constexpr size_t kMaxPatternBytes = 64 << 10;

// Submatches of one match: number 0 is all of it.
struct Matched {
  const RE2& pattern;
  std::vector<re2::StringPiece> groups;

  std::string_view Group(std::string_view name) const {
    std::optional<uint64_t> number = ParseUint(name);
    if (!number) {
      auto found = pattern.NamedCapturingGroups().find(std::string(name));
      if (found == pattern.NamedCapturingGroups().end()) return {};
      number = static_cast<uint64_t>(found->second);
    }
    if (*number >= groups.size() || groups[*number].data() == nullptr) return {};
    return {groups[*number].data(), groups[*number].size()};
  }
};

bool IsNameChar(char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// $1, ${1}, $name, ${name}, $$ as Go's regexp.Expand has them.
std::string Expand(std::string_view text, const Matched& matched) {
  std::string result;
  for (size_t i = 0; i < text.size() && result.size() <= kMaxIdentifierBytes; ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      result += text[i];
      continue;
    }
    if (text[i + 1] == '$') {
      result += '$';
      ++i;
      continue;
    }
    bool braced = text[i + 1] == '{';
    size_t begin = i + (braced ? 2 : 1);
    size_t end = begin;
    while (end < text.size() && IsNameChar(text[end])) ++end;
    if (end == begin || (braced && (end == text.size() || text[end] != '}'))) {
      result += '$';  // not a reference: stands for itself
      continue;
    }
    result += matched.Group(text.substr(begin, end - begin));
    i = braced ? end : end - 1;
  }
  return result;
}

Result<std::unique_ptr<RE2>> Compile(const std::string& pattern) {
  if (pattern.size() > kMaxPatternBytes)
    return InvalidArgument("pattern is longer than {} bytes", kMaxPatternBytes);
  RE2::Options options;
  options.set_log_errors(false);
  auto compiled = std::make_unique<RE2>(pattern, options);
  if (!compiled->ok())
    return InvalidArgument("invalid regex {}: {}", Quoted(pattern), compiled->error());
  return compiled;
}

Result<std::unique_ptr<RE2>> CompileWildcard(const std::string& wildcard) {
  if (wildcard.find("**") != std::string::npos)
    return InvalidArgument("failed to translate wildcard {} to regexp: invalid wildcard: \"**\"",
                           Quoted(wildcard));
  std::string pattern = "^";
  for (size_t i = 0; i <= wildcard.size(); ++i) {
    size_t star = std::min(wildcard.find('*', i), wildcard.size());
    pattern += RE2::QuoteMeta(wildcard.substr(i, star - i));
    if (star < wildcard.size()) pattern += "(.*)";
    i = star;
  }
  return Compile(pattern + "$");
}

std::optional<Matched> Find(const RE2& pattern, std::string_view text, size_t from = 0) {
  Matched matched{pattern, std::vector<re2::StringPiece>(1 + pattern.NumberOfCapturingGroups())};
  re2::StringPiece piece(text.data(), text.size());
  if (!pattern.Match(piece, from, text.size(), RE2::UNANCHORED, matched.groups.data(),
                     static_cast<int>(matched.groups.size())))
    return std::nullopt;
  return matched;
}

// Every match in `text` replaced.
std::string ReplaceEach(const RE2& pattern, std::string_view text, std::string_view with) {
  std::string result;
  size_t at = 0;
  while (at <= text.size() && result.size() <= kMaxIdentifierBytes) {
    auto matched = Find(pattern, text, at);
    if (!matched) break;
    const re2::StringPiece& whole = matched->groups[0];
    size_t begin = static_cast<size_t>(whole.data() - text.data());
    result += text.substr(at, begin - at);
    result += Expand(with, *matched);
    at = begin + whole.size();
    if (whole.empty()) {
      if (at < text.size()) result += text[at];
      ++at;
    }
  }
  if (at < text.size()) result += text.substr(at);
  return result;
}

}  // namespace

class SourcePolicy::Rule {
 public:
  static Result<std::unique_ptr<Rule>> Create(const spb::Rule& rule) {
    if (!rule.has_selector()) return Unknown("invalid nil selector in policy");
    auto result = std::make_unique<Rule>();
    result->rule_ = rule;
    if (rule.selector().match_type() == spb::REGEX) {
      TRY_ASSIGN(result->pattern_, Compile(rule.selector().identifier()));
    } else if (rule.selector().match_type() == spb::WILDCARD) {
      TRY_ASSIGN(result->pattern_, CompileWildcard(rule.selector().identifier()));
    } else if (rule.selector().match_type() != spb::EXACT) {
      return InvalidArgument("unknown match type: {}",
                             static_cast<int>(rule.selector().match_type()));
    }
    for (const spb::AttrConstraint& constraint : rule.selector().constraints()) {
      std::unique_ptr<RE2> pattern;
      if (constraint.condition() == spb::MATCHES) {
        TRY_ASSIGN(pattern, Compile(constraint.value()));
      } else if (constraint.condition() != spb::EQUAL && constraint.condition() != spb::NOTEQUAL) {
        return InvalidArgument("unknown attr condition: {}",
                               static_cast<int>(constraint.condition()));
      }
      result->constraint_patterns_.push_back(std::move(pattern));
    }
    return result;
  }

  spb::PolicyAction action() const { return rule_.action(); }

  bool Matches(const pb::SourceOp& source) const {
    for (int i = 0; i < rule_.selector().constraints_size(); ++i) {
      const spb::AttrConstraint& constraint = rule_.selector().constraints(i);
      auto found = source.attrs().find(constraint.key());
      std::string value = found == source.attrs().end() ? "" : found->second;
      bool fits = constraint.condition() == spb::MATCHES
                      ? Find(*constraint_patterns_[i], value).has_value()
                      : (value == constraint.value()) == (constraint.condition() == spb::EQUAL);
      if (!fits) return false;
    }
    if (rule_.selector().identifier() == source.identifier()) return true;
    return pattern_ != nullptr && Find(*pattern_, source.identifier()).has_value();
  }

  // True if that changes anything.
  Result<bool> Convert(pb::SourceOp& source) const {
    if (!rule_.has_updates()) return Unknown("missing destination for convert rule");
    const spb::Update& updates = rule_.updates();
    std::string to = Destination(
        updates.identifier().empty() ? rule_.selector().identifier() : updates.identifier(),
        source.identifier());
    if (to.size() > kMaxIdentifierBytes)
      return InvalidArgument("a source of more than {} bytes", kMaxIdentifierBytes);
    bool changed = false;
    if (!to.empty() && to != source.identifier()) {
      source.set_identifier(to);
      changed = true;
    }
    for (const auto& [key, value] : updates.attrs()) {
      auto [entry, is_new] = source.mutable_attrs()->insert({key, value});
      if (is_new ? value.empty() : entry->second == value) continue;
      entry->second = value;
      changed = true;
    }
    return changed;
  }

 private:
  std::string Destination(const std::string& format, const std::string& identifier) const {
    if (pattern_ == nullptr) return format;
    if (rule_.selector().match_type() == spb::REGEX)
      return ReplaceEach(*pattern_, identifier, format);
    auto matched = Find(*pattern_, identifier);
    return matched ? Expand(format, *matched) : identifier;
  }

  spb::Rule rule_;
  std::unique_ptr<RE2> pattern_;  // null: exact
  std::vector<std::unique_ptr<RE2>> constraint_patterns_;
};

SourcePolicy::SourcePolicy() = default;
SourcePolicy::~SourcePolicy() = default;
SourcePolicy::SourcePolicy(SourcePolicy&&) noexcept = default;
SourcePolicy& SourcePolicy::operator=(SourcePolicy&&) noexcept = default;

Result<SourcePolicy> SourcePolicy::Create(const std::vector<spb::Policy>& policies) {
  SourcePolicy result;
  for (const spb::Policy& policy : policies) {
    if (policy.version() > 1)
      return InvalidArgument("unsupported source policy version {}", policy.version());
    Policy rules;
    for (const spb::Rule& rule : policy.rules()) {
      TRY_ASSIGN(auto made, Rule::Create(rule));
      rules.push_back(std::move(made));
    }
    result.policies_.push_back(std::move(rules));
  }
  return result;
}

Result<bool> SourcePolicy::EvaluateOne(const Policy& policy, pb::SourceOp& source) const {
  bool denied = false;
  for (const auto& rule : policy) {
    if (!rule->Matches(source)) continue;
    switch (rule->action()) {
      case spb::ALLOW:
        denied = false;
        break;
      case spb::DENY:
        denied = true;
        break;
      case spb::CONVERT: {
        TRY_ASSIGN_CTX(bool changed, rule->Convert(source), "error mutating source policy");
        if (changed) return true;
        break;
      }
      default:
        return InvalidArgument("source policy: unknown action {}",
                               static_cast<int>(rule->action()));
    }
  }
  if (denied)
    return Unknown("source {} denied by policy: source denied by policy",
                   Quoted(source.identifier()));
  return false;
}

Result<bool> SourcePolicy::Evaluate(pb::SourceOp& source) const {
  bool changed = false;
  for (int i = 0; i < kMaxMutations; ++i) {
    bool changed_now = false;
    for (const Policy& policy : policies_) {
      TRY_ASSIGN(changed_now, EvaluateOne(policy, source));
      if (changed_now) break;
    }
    if (!changed_now) return changed;
    changed = true;
  }
  return Unknown("too many mutations on a single source: too many operations");
}

}  // namespace kiln::build
