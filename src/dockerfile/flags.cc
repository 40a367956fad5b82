#include "dockerfile/flags.h"

#include "base/strings.h"
#include "dockerfile/suggest.h"

namespace kiln::dockerfile {
namespace {

std::vector<std::string> NamesOf(std::span<const FlagSpec> specs) {
  std::vector<std::string> names;
  for (const FlagSpec& spec : specs) names.emplace_back(spec.name);
  return names;
}

const FlagSpec* Find(std::span<const FlagSpec> specs, std::string_view name) {
  for (const FlagSpec& spec : specs) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

}  // namespace

Result<Flags> Flags::Parse(std::span<const FlagSpec> specs, const std::vector<std::string>& words) {
  Flags flags;
  for (const std::string& word : words) {
    const std::string_view text = std::string_view(word).substr(2);
    const auto cut = Cut(text, "=");
    const std::string name(cut ? cut->first : text);
    const FlagSpec* spec = Find(specs, name);
    if (spec == nullptr) {
      return Unknown("unknown flag: --{}{}", name, DidYouMean(name, NamesOf(specs)));
    }
    auto& values = flags.values_[name];
    if (!values.empty() && spec->kind != FlagKind::kStrings) {
      return Unknown("duplicate flag specified: --{}", name);
    }
    if (spec->kind == FlagKind::kBool) {
      const std::string value = cut ? ToLower(cut->second) : "true";
      if (value.empty()) return Unknown("missing a value on flag: --{}", name);
      if (value != "true" && value != "false") {
        return Unknown("expecting boolean value for flag --{}, not: {}", name, cut->second);
      }
      values.push_back(value);
      continue;
    }
    if (!cut) return Unknown("missing a value on flag: --{}", name);
    values.emplace_back(cut->second);
  }
  return flags;
}

std::string Flags::String(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? "" : found->second.front();
}

std::vector<std::string> Flags::Strings(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::vector<std::string>() : found->second;
}

std::optional<bool> Flags::Bool(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return std::nullopt;
  return found->second.front() == "true";
}

}  // namespace kiln::dockerfile
