#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "filesync/entry.h"

namespace kiln::filesync {

// Checks a received listing entry by entry: strict wire order, every parent listed before as a
// directory.
class ListingChecker {
 public:
  Status Add(const Entry& entry);

 private:
  std::string last_;
  std::vector<std::string> open_dirs_;  // chain of directories down to the last entry
};

// Finds `path` in a listing in wire order; null if it is not there.
const Entry* FindEntry(const std::vector<Entry>& entries, std::string_view path);

// Whether the file on disk that `old` describes can stay for `now`: everything equal but a
// directory's time.
bool SameEntry(const Entry& old, const Entry& now);

}  // namespace kiln::filesync
