#!/usr/bin/env bash
# A seccomp profile in an OCI runtime's configuration lists system calls, and says what the others get: EPERM in most. A
# system call that is younger than the profile is one of the others. runc answers ENOSYS to it, if it is newer than the
# newest one that the profile names, so that libc falls back to an older call; crun keeps to the letter of the
# profile, and libc takes EPERM for a refusal. So with the same configuration, on the same kernel, the same program runs
# with one runtime and fails with the other. For crun a profile has to say ENOSYS itself, as "defaultErrnoRet": 38.
# shellcheck disable=SC2016  # dollar signs are for jq
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
debian runc=1.1.5+ds1-1+deb12u1 crun=1.8.1-1+deb12u1 jq gcc-12 libc6-dev binutils

mkdir -p "$root/bundle/rootfs/proc" "$root/sys/fs/cgroup"
cat >"$root/probe.c" <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
  const long old = syscall(SYS_swapoff, "");  // left out of the profile, and older than much that is in it
  const int old_error = errno;
  const long young = syscall(600, -1);  // a number that no system call has yet
  const int young_error = errno;
  printf("%s, %s\n", old < 0 ? strerrorname_np(old_error) : "done", young < 0 ? strerrorname_np(young_error) : "done");
}
C
inside gcc-12 -static /probe.c -o /bundle/rootfs/probe
cat >"$root/start" <<'SH'
set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
mount -t cgroup2 cgroup "$1/sys/fs/cgroup"
mount --rbind /dev "$1/dev"
exec chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "${@:2}"
SH
with_mounts() { unshare --mount --propagation private bash "$root/start" "$root" "$@"; }

inside sh -c 'cd /bundle && runc spec'
cp "$root/bundle/config.json" "$root/bundle/spec.json"
needed='access arch_prctl brk capget capset chdir clone clone3 close close_range connect dup2 dup3 epoll_create1 epoll_ctl
  epoll_pwait eventfd2 execve execveat exit exit_group faccessat2 fchdir fcntl fstat fstatfs futex getcwd getdents64 getegid
  geteuid getgid getpid getppid getrandom gettid getuid ioctl keyctl kill lseek madvise mmap mount mprotect munmap nanosleep
  newfstatat open openat personality pipe2 poll ppoll prctl pread64 prlimit64 read readlink readlinkat recvmsg rseq
  rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield sendmsg sendto set_robust_list set_tid_address
  setgid setgroups sethostname setsid setuid sigaltstack socket stat statfs statx tgkill umask uname unlink wait4 write
  writev'
profile() { # what the default needs besides its action
  inside jq --arg needed "$needed" --argjson more "$1" '
    .process.terminal = false | .process.args = ["/probe"] | .linux.seccomp = {defaultAction: "SCMP_ACT_ERRNO",
      architectures: ["SCMP_ARCH_X86_64"], syscalls: [{names: [$needed | scan("[a-z0-9_]+")], action: "SCMP_ACT_ALLOW"}]}
      + $more' /bundle/spec.json >"$work/config"
  cp "$work/config" "$root/bundle/config.json"
}
run() { # RUNTIME OPTIONS…: what the program is told
  result=$(with_mounts "$1" --root "/run/$1" "${@:2}" run --no-pivot --bundle /bundle finding)
}
say "expected: both runtimes do what the profile says: EPERM, EPERM"
profile '{}'
run runc
expect "an old call, a new one: runc" "$result" "EPERM, ENOSYS"
run crun --cgroup-manager=disabled
expect "an old call, a new one: crun" "$result" "EPERM, EPERM"
profile '{"defaultErrnoRet": 38}'
run crun --cgroup-manager=disabled
expect "the same with defaultErrnoRet 38: crun" "$result" "ENOSYS, ENOSYS"
