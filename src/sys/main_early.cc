#include "sys/main_early.h"

#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "sys/file_info.h"

namespace kiln::sys {
namespace {

// A descriptor opened later must never become 0, 1 or 2.
Status FillStandardDescriptors() {
  for (;;) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return ErrnoError(errno, "open /dev/null");
    if (fd > 2) {
      close(fd);
      return OkStatus();
    }
    fcntl(fd, F_SETFD, 0);
  }
}

// Children keep the soft limit we were started with: the spawner is forked before this.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// As many heaps as threads run at once: glibc makes eight for each CPU, and what builds leave
// behind keeps pages of all of them. Very large buffers have pages of their own: unless told, glibc
// puts them into the heaps as well once it has seen one freed. Blocks that are compressed (2 MiB)
// stay in the heaps: fresh pages for each took a fifth of a zstd push.
void LimitHeaps() {
  mallopt(M_MMAP_THRESHOLD, 4 << 20);
  const auto cpus = sysconf(_SC_NPROCESSORS_ONLN);
  mallopt(M_ARENA_MAX, static_cast<int>(std::clamp(cpus, 2L, 64L)));
}

Error RootIsNoMount(int error_number) {
  return ErrnoError(error_number,
                    "keep mounts private: the root directory is no mount point (after chroot), and "
                    "cannot be made one with the help of /proc; bind it over itself before chroot "
                    "(mount --bind DIR DIR)");
}

// In a chroot the mount that holds the root cannot be named, and so not be made private. A private
// copy of what can be seen takes its place. It has to lie on some mount that can be named: /proc.
Status MakeRootAMount() {
  Fd copy(static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)));
  if (!copy) return RootIsNoMount(errno);
  mount_attr slave{};
  slave.propagation = MS_SLAVE;
  if (mount_setattr(copy.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &slave, sizeof slave) != 0)
    return RootIsNoMount(errno);
  if (mount(nullptr, "/proc", nullptr, MS_PRIVATE, nullptr) != 0 ||
      move_mount(copy.get(), "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) != 0 ||
      fchdir(copy.get()) != 0 || chroot(".") != 0) {
    return RootIsNoMount(errno);
  }
  return OkStatus();
}

}  // namespace

Result<size_t> ThreadCount() {
  TRY_ASSIGN(Fd tasks, OpenFile("/proc/self/task", O_RDONLY | O_DIRECTORY));
  TRY_ASSIGN(std::vector<DirEntry> entries, ReadDir(tasks.get()));
  return entries.size();
}

Status EnterPrivateMountNamespace() {
  if (unshare(CLONE_NEWNS) != 0) return ErrnoError(errno, "enter a private mount namespace");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0) return OkStatus();
  if (errno == EINVAL) return MakeRootAMount();
  return ErrnoError(errno, "keep mounts private");
}

Result<Early> MainEarly(const MainEarlyOptions& options) {
  TRY_ASSIGN(size_t threads, ThreadCount());
  if (threads != 1)
    return FailedPrecondition("start-up: {} threads run already, there must be one", threads);
  LimitHeaps();
  Early early;
  early.umask = umask(0);
  std::signal(SIGPIPE, SIG_IGN);
  TRY(FillStandardDescriptors());
  if (options.private_mount_namespace) {
    if (auto entered = EnterPrivateMountNamespace();
        !entered.ok() && !options.mount_namespace_optional) {
      return std::move(entered).error();
    }
  }
  TRY_ASSIGN(early.spawner, Spawner::StartEarly());
  RaiseDescriptorLimit();
  return early;
}

}  // namespace kiln::sys
