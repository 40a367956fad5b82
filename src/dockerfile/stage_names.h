#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace kiln::dockerfile {

// Which stage a name means, seen from a stage: only earlier ones can be used.
class StageNames {
 public:
  explicit StageNames(const Dockerfile& file);

  // The last stage of that name before `index`; exact comparison.
  std::optional<int> Before(const std::string& name, int index) const;
  // The last stage of that name anywhere.
  std::optional<int> Last(const std::string& name) const;
  // For `--from` and mounts: case does not matter; `by_index` allows a number. nullopt: no earlier
  // stage. `invalid stage index N` for a number that is no earlier stage.
  Result<std::optional<int>> Resolve(const std::string& name, int index, bool by_index) const;

 private:
  std::map<std::string, std::vector<int>> by_name_;  // ascending
};

}  // namespace kiln::dockerfile
