#include "sys/main_early.h"

#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
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

}  // namespace

Result<size_t> ThreadCount() {
  TRY_ASSIGN(Fd tasks, OpenFile("/proc/self/task", O_RDONLY | O_DIRECTORY));
  TRY_ASSIGN(std::vector<DirEntry> entries, ReadDir(tasks.get()));
  return entries.size();
}

Status EnterPrivateMountNamespace() {
  if (unshare(CLONE_NEWNS) != 0) return ErrnoError(errno, "enter a private mount namespace");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    return ErrnoError(errno, "keep mounts private");
  }
  return OkStatus();
}

Result<std::unique_ptr<Spawner>> MainEarly(const MainEarlyOptions& options) {
  TRY_ASSIGN(size_t threads, ThreadCount());
  if (threads != 1)
    return FailedPrecondition("start-up: {} threads run already, there must be one", threads);
  LimitHeaps();
  umask(0);
  std::signal(SIGPIPE, SIG_IGN);
  TRY(FillStandardDescriptors());
  if (options.private_mount_namespace) {
    if (auto entered = EnterPrivateMountNamespace();
        !entered.ok() && !options.mount_namespace_optional) {
      return std::move(entered).error();
    }
  }
  TRY_ASSIGN(std::unique_ptr<Spawner> spawner, Spawner::StartEarly());
  RaiseDescriptorLimit();
  return spawner;
}

}  // namespace kiln::sys
