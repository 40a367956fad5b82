#include "archive/sparse.h"

#include <unistd.h>

#include "base/fd.h"

namespace kiln::archive {

bool IsHole(const TarEntry& entry, std::string_view data) {
  return entry.sparse && data.find_first_not_of('\0') == data.npos;
}

Status AppendContent(int fd, const TarEntry& entry, std::string_view data, int64_t size) {
  if (!IsHole(entry, data)) return WriteAll(fd, data);
  if (::ftruncate(fd, size) != 0 || ::lseek(fd, size, SEEK_SET) < 0)
    return ErrnoError(errno, "leave a hole");
  return OkStatus();
}

}  // namespace kiln::archive
