#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kiln {

// Looks up a field ("id", or {"labels", "x"}); nullopt if the object has no such field.
using FieldLookup = std::function<std::optional<std::string>(const std::vector<std::string>& path)>;

// Filter expressions as containerd has them: a filter is `selector,selector…` (all must hold), a
// selector `field.path` (present), `==v`, `!=v` or `~=regex`; words may be quoted. Several filters:
// any may hold. No filter matches everything. Immutable.
class Filter {
 public:
  Filter() = default;
  // InvalidArgument says where an expression is malformed. An empty expression matches everything.
  static Result<Filter> Parse(const std::vector<std::string>& expressions);
  bool Matches(const FieldLookup& lookup) const;

 private:
  enum class Operator { kPresent, kEqual, kNotEqual, kRegex };
  struct Selector {
    std::vector<std::string> path;
    Operator op = Operator::kPresent;
    std::string value;
    bool Holds(const FieldLookup& lookup) const;
  };
  class Parser;
  std::vector<std::vector<Selector>> alternatives_;
};

}  // namespace kiln
