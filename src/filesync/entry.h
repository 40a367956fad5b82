#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace fsutil::types {
class Stat;
}

namespace kiln::filesync {

// One path of a directory tree as it is listed on the wire and remembered between transfers.
struct Entry {
  std::string path;   // relative, clean, '/'-separated
  uint32_t mode = 0;  // st_mode: type and permission bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t size = 0;
  int64_t mtime_ns = 0;
  std::string linkname;  // target of a symlink; of a hard link, the first path of its inode
  uint32_t devmajor = 0;
  uint32_t devminor = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;  // sorted by name
  // When the inode changed last, by the sender's clock; 0: not said. No part of what the entry is.
  int64_t ctime_ns = 0;
  // What the receiver's hasher made of a regular file; carried over while the file is unchanged.
  Digest digest;

  bool IsDirectory() const { return S_ISDIR(mode); }
  bool IsRegular() const { return S_ISREG(mode); }
  bool IsSymlink() const { return S_ISLNK(mode); }
  bool IsDevice() const { return S_ISCHR(mode) || S_ISBLK(mode); }
  // A further name of a file listed before.
  bool IsHardLink() const { return IsRegular() && !linkname.empty(); }
  bool operator==(const Entry&) const = default;
};

// The order of the wire: bytewise, '/' lower than every other byte. Negative, 0 or positive.
int ComparePaths(std::string_view a, std::string_view b);
// Relative, clean, within PATH_MAX, no NUL, no "." or "..".
Status ValidatePath(std::string_view path);

// Go's FileMode bits ⇄ st_mode. Sockets become regular files going out. Irregular files are
// refused.
uint32_t GoModeOf(uint32_t st_mode);
Result<uint32_t> ModeFromGo(uint32_t go_mode);

void ToStat(const Entry& entry, fsutil::types::Stat* out);
// Checks everything that can be checked without knowing other entries.
Result<Entry> FromStat(const fsutil::types::Stat& stat);

// A listing as bytes, for keeping it between transfers. Format: "kiln-listing 1\n", then per entry
// a uint32 LE length and a serialized Stat, followed by the 32 digest bytes.
std::string EncodeListing(const std::vector<Entry>& entries);
// DataLoss for anything EncodeListing did not write.
Result<std::vector<Entry>> DecodeListing(std::string_view bytes);

}  // namespace kiln::filesync
