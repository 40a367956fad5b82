#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"

namespace kiln::store {

// A file that a layer and a context share, or two layers: one inode, on the disk once.
struct LinkedFile {
  uint64_t inode = 0;
  uint64_t bytes = 0;
};

struct MeasuredTree {
  uint64_t bytes = 0;  // of everything but `linked`
  std::vector<LinkedFile> linked;
};

// Walks a layer; `linked`: the inodes that were linked into it (snapshots/N/links).
Result<MeasuredTree> MeasureLayer(const std::string& directory,
                                  const std::unordered_set<uint64_t>& linked);
// Walks a directory that layers may share files with: all that have several names.
Result<MeasuredTree> MeasureShared(const std::string& directory);

// The list as it is kept beside the directory (snapshots/N/linked), so that it need not be walked
// again.
Status WriteLinked(const std::string& path, const std::vector<LinkedFile>& linked);
Result<std::vector<LinkedFile>> ReadLinked(const std::string& path);

// Whose shared files are. One that several list is counted for the first one added, and is off the
// disk when none is left that lists it.
class LinkedOwners {
 public:
  // How many bytes are counted for the owner of this list.
  uint64_t Add(const std::vector<LinkedFile>& linked);
  // How many bytes go with it.
  uint64_t Remove(const std::vector<LinkedFile>& linked);

 private:
  std::unordered_map<uint64_t, size_t> holders_;  // by inode
};

}  // namespace kiln::store
