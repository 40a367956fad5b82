#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"

namespace kiln::sys {

// What lstat tells about one inode.
struct FileInfo {
  mode_t mode = 0;  // type and permission bits
  uid_t uid = 0;
  gid_t gid = 0;
  uint64_t size = 0;
  dev_t rdev = 0;
  dev_t dev = 0;
  ino_t ino = 0;
  nlink_t nlink = 0;
  uint64_t blocks = 0;  // of 512 bytes
  WallTime atime;
  WallTime mtime;
  WallTime ctime;

  bool IsDirectory() const { return S_ISDIR(mode); }
  bool IsRegular() const { return S_ISREG(mode); }
  bool IsSymlink() const { return S_ISLNK(mode); }
  // An overlay whiteout: a character device 0:0.
  bool IsWhiteout() const { return S_ISCHR(mode) && rdev == 0; }
};

FileInfo FromStat(const struct stat& st);
timespec ToTimespec(WallTime time);

// Gives a directory back the times it had, when destroyed: over changes that are not the user's.
class KeepTimes {
 public:
  // `dir`: open, not O_PATH, for as long as this lives.
  explicit KeepTimes(int dir);
  ~KeepTimes();
  KeepTimes(const KeepTimes&) = delete;
  KeepTimes& operator=(const KeepTimes&) = delete;
  // Now, and says what went wrong.
  Status Restore();

 private:
  int dir_;
  Result<FileInfo> info_;
};

// Whether the last component of a path is followed if it is a symlink.
enum class Follow { kNo, kYes };

using Xattrs = std::map<std::string, std::string>;

// The functions below act on one name inside an open directory (or on the descriptor itself, also
// an O_PATH one). They never follow a link in `name`, which is a single component. They are the
// fast path of walks; whole paths go through RootedPath.
Result<FileInfo> StatFd(int fd);
Result<FileInfo> StatAt(int dir, const std::string& name);
Result<std::string> ReadLinkAt(int dir, const std::string& name);
Result<Fd> OpenDirAt(int dir, const std::string& name);
// A regular file to read; NotFound, FailedPrecondition for anything that is not a regular file
// (never blocks on a fifo).
Result<Fd> OpenRegularAt(int dir, const std::string& name);

struct DirEntry {
  std::string name;
  unsigned char type = 0;  // DT_*; DT_UNKNOWN where the file system does not say
};
// All entries but "." and "..", sorted bytewise. `dir` must be open for reading (not O_PATH); its
// offset is rewound.
Result<std::vector<DirEntry>> ReadDir(int dir);

// Extended attributes of the inode itself (links are not followed). A file system without them
// gives an empty map.
Result<Xattrs> GetXattrsAt(int dir, const std::string& name);
Result<Xattrs> GetXattrsFd(int fd);
// NotFound when the inode has no such attribute.
Result<std::string> GetXattrAt(int dir, const std::string& name, const std::string& attribute);
Status SetXattrAt(int dir, const std::string& name, const std::string& attribute,
                  std::string_view value);
Status RemoveXattrAt(int dir, const std::string& name, const std::string& attribute);

Status ChownAt(int dir, const std::string& name, uid_t uid, gid_t gid);
// Of the inode itself; symlinks have no mode of their own and are left alone.
Status ChmodAt(int dir, const std::string& name, mode_t mode);
Status SetTimesAt(int dir, const std::string& name, WallTime atime, WallTime mtime);

// Removes `name` and all below it. Never follows a link, never enters a mounted file system (an
// error names it), copes with any depth. A name that is not there is success.
Status RemoveTreeAt(int dir, const std::string& name);
// The same for a path of our own (its parent is trusted).
Status RemoveTree(const std::string& path);

}  // namespace kiln::sys
