#include "filesync/listing_checker.h"

#include <algorithm>

#include "base/strings.h"

namespace kiln::filesync {

Status ListingChecker::Add(const Entry& entry) {
  if (!last_.empty() && ComparePaths(last_, entry.path) >= 0) {
    return InvalidArgument("changes out of order: {} {}", Quoted(entry.path), Quoted(last_));
  }
  const size_t slash = entry.path.rfind('/');
  if (slash != std::string::npos) {
    const std::string_view parent = std::string_view(entry.path).substr(0, slash);
    while (!open_dirs_.empty() && open_dirs_.back().size() > parent.size()) open_dirs_.pop_back();
    if (open_dirs_.empty() || open_dirs_.back() != parent) {
      return InvalidArgument("changes out of order: {}: its directory was not listed before",
                             Quoted(entry.path));
    }
  } else {
    open_dirs_.clear();
  }
  if (entry.IsDirectory()) open_dirs_.push_back(entry.path);
  last_ = entry.path;
  return OkStatus();
}

const Entry* FindEntry(const std::vector<Entry>& entries, std::string_view path) {
  const auto it = std::lower_bound(entries.begin(), entries.end(), path,
                                   [](const Entry& entry, std::string_view wanted) {
                                     return ComparePaths(entry.path, wanted) < 0;
                                   });
  return it != entries.end() && it->path == path ? &*it : nullptr;
}

bool SameEntry(const Entry& old, const Entry& now) {
  if (old.mode != now.mode || old.uid != now.uid || old.gid != now.gid ||
      old.devmajor != now.devmajor || old.devminor != now.devminor ||
      old.linkname != now.linkname || old.xattrs != now.xattrs) {
    return false;
  }
  return now.IsDirectory() || (old.size == now.size && old.mtime_ns == now.mtime_ns);
}

}  // namespace kiln::filesync
