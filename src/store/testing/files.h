#pragma once

#include <string>
#include <vector>

#include "progress/activity.h"
#include "store/store.h"

namespace kiln::store {

// Ways for tests to make things on disk. All fail the running test when they cannot.
void MakeDirectory(const std::string& path, mode_t mode = 0755);
// mtime is 2026-01-01T00:00:00.5Z, so that no content comparison sets in.
void MakeFile(const std::string& path, std::string_view data, mode_t mode = 0644);
void MakeLink(const std::string& target, const std::string& path);
void MakeWhiteout(const std::string& path);
void MakeOpaque(const std::string& directory);
void SetMtime(const std::string& path, int64_t nanos);

// "path type:mode:uid:size:link\n" for everything below the root, sorted; directories without size.
std::string Listing(const TreeView& view);
// The same of a directory as the kernel shows it.
std::string Listing(const std::string& directory);

// A tree of `file` → content; parents are made. Fails the test if it cannot.
SnapshotRef CommitFiles(Store& store, const SnapshotRef& parent,
                        const std::vector<std::pair<std::string, std::string>>& files,
                        const std::vector<std::string>& removed = {});

template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().ToString());
  return std::move(result).value();
}
inline void Must(Status status) {
  if (!status.ok()) throw std::runtime_error(status.error().ToString());
}

}  // namespace kiln::store
