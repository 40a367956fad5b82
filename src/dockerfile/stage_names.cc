#include "dockerfile/stage_names.h"

#include <algorithm>

#include "base/strings.h"

namespace kiln::dockerfile {

StageNames::StageNames(const Dockerfile& file) {
  for (const Stage& stage : file.stages) {
    if (!stage.from.name.empty()) by_name_[stage.from.name].push_back(stage.index);
  }
}

std::optional<int> StageNames::Before(const std::string& name, int index) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return std::nullopt;
  const auto& indexes = found->second;
  const auto at = std::lower_bound(indexes.begin(), indexes.end(), index);
  if (at == indexes.begin()) return std::nullopt;
  return *std::prev(at);
}

std::optional<int> StageNames::Last(const std::string& name) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return std::nullopt;
  return found->second.back();
}

Result<std::optional<int>> StageNames::Resolve(const std::string& name, int index,
                                               bool by_index) const {
  if (const auto stage = Before(ToLower(name), index)) return stage;
  if (!by_index) return std::optional<int>();
  const auto number = ParseInt(name);
  if (!number) return std::optional<int>();
  if (*number < 0 || *number >= index) return Unknown("invalid stage index {}", name);
  return std::optional<int>(static_cast<int>(*number));
}

}  // namespace kiln::dockerfile
