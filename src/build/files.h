#pragma once

#include <optional>
#include <string>
#include <vector>

#include "build/reference.h"
#include "sys/file_info.h"

namespace kiln::build {

// One entry as a frontend sees it (fsutil Stat without wire encoding).
struct FileStat {
  std::string path;  // of ReadDir: relative to the directory asked for
  sys::FileInfo info;
  std::string link_target;
  sys::Xattrs xattrs;
};

struct FileRange {
  int64_t offset = 0;
  int64_t length = 0;
};

// Reads below the root of an evaluated reference, links resolved inside it. Errors name the path as
// asked ("open /x: no such file or directory"). Scratch is an empty directory. All block.
//
// A file of more than `limit` bytes is refused: `/x exceeds maximum allowed size of N bytes`. A
// range may be longer than the file, and may ask for one byte more than the limit: that tells
// whoever reads in this way that there is more.
Result<std::string> ReadFile(const progress::Activity& activity, Reference& reference,
                             const std::string& path, std::optional<FileRange> range = {},
                             size_t limit = 16 << 20);
// One level, sorted; `include` is a dockerignore-style pattern on names, "" for all.
Result<std::vector<FileStat>> ReadDir(const progress::Activity& activity, Reference& reference,
                                      const std::string& path, const std::string& include);
// Follows the last component.
Result<FileStat> StatFile(const progress::Activity& activity, Reference& reference,
                          const std::string& path);

}  // namespace kiln::build
