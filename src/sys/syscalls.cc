#include "sys/syscalls.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace kiln::sys {

int OpenAt2(int dir, const char* path, uint64_t flags, mode_t mode, uint64_t resolve) {
  open_how how{};
  how.flags = flags;
  how.mode = mode;
  how.resolve = resolve;
  // EAGAIN: somebody renamed in the tree while ".." was resolved, so that the kernel could not tell
  // whether we got out.
  constexpr int kMaxTries = 1000;
  for (int tries = 0;; ++tries) {
    long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN) || tries == kMaxTries)
      return static_cast<int>(fd);
  }
}

int PidfdOpen(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

int PidfdSendSignal(int pidfd, int signal) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}

int SysRenameAt2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
  return static_cast<int>(syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
}

}  // namespace kiln::sys
