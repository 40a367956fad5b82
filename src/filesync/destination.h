#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/fd.h"
#include "base/result.h"
#include "filesync/entry.h"

namespace kiln::filesync {

// The directory being written. Paths never leave it and never pass a symlink (openat2). One thread
// at a time; the descriptors it hands out are shared and may be used anywhere.
class Destination {
 public:
  using Dir = std::shared_ptr<const Fd>;
  struct Place {
    Dir dir;
    std::string name;
    std::string temporary;  // beside it, for what is then moved there
  };

  // Does not own `root`. Locks it (flock) where no other transfer has: as long as the caller keeps
  // it open, others take temporary names that no one else takes.
  explicit Destination(int root);

  // The directory that holds `path`, and the last component.
  Result<Place> PlaceOf(std::string_view path);
  Result<Dir> OpenDir(std::string_view path);

  // Removes whatever is at `path`, directories with all they hold. Nothing there: OK.
  Status Remove(std::string_view path);
  // Removes what is at the entry's path if it is a directory and the entry is not, or the reverse.
  Status ClearWay(const Entry& entry);
  // A directory 0700; one that exists is kept.
  Status MakeDir(const Entry& entry);
  // Symlinks, devices and fifos: made beside and moved over what is there.
  Status MakeSpecial(const Entry& entry);
  // Another name for the regular file `target`.
  Status MakeLink(const Entry& entry, std::string_view target);
  // Owner, xattrs, mode and times of an existing directory.
  Status SetDirMetadata(const Entry& entry);

 private:
  Status SetSpecialMetadata(const Place& place, const Entry& entry);
  std::string TemporaryName(std::string_view path) const;

  const int root_;
  const bool alone_;
  std::unordered_map<std::string, Dir> dirs_;
};

// Whether an entry may be being made under this name, by whichever transfer.
bool IsTemporaryName(std::string_view name);
// Calls `make`, which makes `name` in `dir` and returns -1 with an errno if it cannot. Where that
// is because of a leftover, once more without it.
int MakeTemporary(int dir, const std::string& name, const std::function<int()>& make);
// Moves what was made under the temporary name.
Status MoveToPlace(const Destination::Place& place, std::string_view path);
// Owner, xattrs, mode and times of an open file or directory.
Status SetMetadata(int fd, const Entry& entry);

}  // namespace kiln::filesync
