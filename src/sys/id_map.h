#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kiln::sys {

// A map between ids inside a user namespace and outside it (user_namespaces(7)): a list of ranges.
// The default is the identity.
class IdMap {
 public:
  struct Range {
    uint32_t inside = 0;
    uint32_t outside = 0;
    uint32_t count = 0;
    bool operator==(const Range&) const = default;
  };

  IdMap() = default;
  // Ranges may not overlap on either side, nor run past 2^32-2.
  static Result<IdMap> Create(std::vector<Range> ranges);
  // The text of /proc/<pid>/uid_map.
  static Result<IdMap> Parse(std::string_view text);
  // Of this process.
  static Result<IdMap> OwnUids();
  static Result<IdMap> OwnGids();

  bool identity() const { return ranges_.empty(); }
  const std::vector<Range>& ranges() const { return ranges_; }
  // nullopt: not mapped.
  std::optional<uint32_t> ToOutside(uint32_t inside) const;
  std::optional<uint32_t> ToInside(uint32_t outside) const;
  // As uid_map takes it: "inside outside count\n"…
  std::string ToString() const;

  bool operator==(const IdMap&) const = default;

 private:
  explicit IdMap(std::vector<Range> ranges) : ranges_(std::move(ranges)) {}
  std::vector<Range> ranges_;
};

}  // namespace kiln::sys
