#include "client/made_dirs.h"

#include <sys/stat.h>

#include <cerrno>

#include "base/strings.h"

namespace kiln::client {

Status MakeDirs(const std::string& path, mode_t mode) {
  if (path.empty() || path == "/" || path == ".") return OkStatus();
  if (mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return OkStatus();
  if (errno != ENOENT) return ErrnoError(errno, "mkdir {}", path);
  TRY(MakeDirs(DirName(path), mode));
  if (mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return OkStatus();
  return ErrnoError(errno, "mkdir {}", path);
}

}  // namespace kiln::client
