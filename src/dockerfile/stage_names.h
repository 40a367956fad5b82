#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/mount.h"

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
  // Why stage `found` can not be used from stage `user`.
  Error TooLate(const std::string& name, int user, int found, const Mount* mount) const;
  std::vector<std::string> All() const;

 private:
  std::string Label(int index) const;

  std::map<std::string, std::vector<int>> by_name_;  // ascending
  std::vector<std::string> names_;
};

}  // namespace kiln::dockerfile
