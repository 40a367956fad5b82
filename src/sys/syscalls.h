#pragma once

// System calls that glibc 2.36 does not wrap. They return −1 and set errno as wrappers do; EINTR
// and EAGAIN of openat2 are retried.
#include <linux/openat2.h>
#include <sys/types.h>

#include <cstdint>

namespace kiln::sys {

// The number is the same on every architecture (calls from 424 on are).
inline constexpr long kSysFchmodAt2 = 452;
inline constexpr long kSysListXattrAt = 465;

int OpenAt2(int dir, const char* path, uint64_t flags, mode_t mode, uint64_t resolve);
// <sys/pidfd.h> of glibc 2.36 forgets extern "C".
int PidfdOpen(pid_t pid);
int PidfdSendSignal(int pidfd, int signal);
int SysRenameAt2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags);

}  // namespace kiln::sys
