// What a hostile step would try. Prints "NAME<tab>WHAT" for each: "allowed", or the errno that refused it. Nothing here
// does harm where it is let through: it opens without writing, unloads what is not loaded, sets the time it is.
// Arguments: a process id of the host's, a file of the host's.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say(const char* name, long result) {
  int error = errno;
  printf("%s\t%s\n", name, result >= 0 ? "allowed" : strerrorname_np(error));
  fflush(stdout);
}

// In a process of its own: it may change what those after it stand on.
static void apart(const char* name, long (*attempt)(void)) {
  pid_t child = fork();
  if (child == 0) {
    say(name, attempt());
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status)) printf("%s\tsignal %d\n", name, WTERMSIG(status));
}

static int host_pid;
static const char* host_file;

static long opens(const char* path, int flags) { return open(path, flags | O_CLOEXEC); }
static long reads(const char* path) {
  char byte;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  long got = read(fd, &byte, 1);
  if (got == 0) errno = ENODATA;
  return got == 1 ? 0 : -1;
}
static long node(mode_t kind, int major_number, int minor_number) {
  unlink("/node");
  if (mknod("/node", kind | 0600, makedev(major_number, minor_number)) != 0) return -1;
  long result = opens("/node", O_RDONLY | O_NONBLOCK);
  int error = errno;
  unlink("/node");
  errno = error;
  return result;
}

static long mount_tmpfs(void) { return mount("none", "/mnt", "tmpfs", 0, ""); }
static long mount_bind(void) { return mount("/", "/mnt", "", MS_BIND, ""); }
static long mount_proc(void) { return mount("proc", "/mnt", "proc", 0, ""); }
static long mount_overlay(void) {
  return mount("overlay", "/mnt", "overlay", 0, "lowerdir=/bin:/etc");
}
static long remount_sys(void) { return mount("", "/sys", "", MS_REMOUNT | MS_BIND, ""); }
static long unmount_proc(void) { return umount2("/proc", MNT_DETACH); }
static long make_shared(void) { return mount("", "/", "", MS_SHARED | MS_REC, ""); }
static long tree_of(void) { return syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* clone */); }
static long new_filesystem(void) { return syscall(SYS_fsopen, "tmpfs", 0); }
static long change_mount(void) { return syscall(SYS_mount_setattr, AT_FDCWD, "/sys", 0, NULL, 0); }
static long pivot(void) { return syscall(SYS_pivot_root, "/", "/mnt"); }
static long unshare_user(void) { return unshare(CLONE_NEWUSER); }
static long unshare_mounts(void) { return unshare(CLONE_NEWNS); }
static long unshare_net(void) { return unshare(CLONE_NEWNET); }
static long clone_user(void) {
  long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(0);
  return child;
}
static long enter(const char* which) {
  char path[64];
  snprintf(path, sizeof path, "/proc/1/ns/%s", which);
  int fd = open(path, O_RDONLY);
  return fd < 0 ? -1 : setns(fd, 0);
}
static long enter_mounts(void) { return enter("mnt"); }
static long enter_net(void) { return enter("net"); }
static long trace_host(void) { return ptrace(PTRACE_ATTACH, host_pid, 0, 0); }
static long signal_host(void) { return kill(host_pid, 0); }
static long descriptor_of_host(void) { return syscall(SYS_pidfd_open, host_pid, 0); }
static long memory_of_host(void) {
  char byte;
  struct iovec mine = {&byte, 1}, theirs = {(void*)0x400000, 1};
  return process_vm_readv(host_pid, &mine, 1, &theirs, 1, 0);
}
static long priority_of_host(void) { return setpriority(0, host_pid, -20); }
static long own_priority(void) { return nice(-20) == -1 && errno ? -1 : 0; }
static long add_key(void) { return syscall(SYS_add_key, "user", "x", "y", 1, -3); }
static long request_key(void) { return syscall(SYS_request_key, "user", "x", NULL, -3); }
static long keyctl(void) { return syscall(SYS_keyctl, 0, -3, 1); }
static long bpf_map(void) {
  union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
  return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr);
}
static long uring(void) {
  struct io_uring_params params = {0};
  return syscall(SYS_io_uring_setup, 1, &params);
}
static long faults(void) { return syscall(SYS_userfaultfd, O_CLOEXEC); }
static long perf(void) {
  struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr};
  return syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0);
}
static long kexec(void) { return syscall(SYS_kexec_load, 0, 0, NULL, 0); }
static long load_module(void) { return syscall(SYS_init_module, "", 0, ""); }
static long unload_module(void) { return syscall(SYS_delete_module, "no_such_module", O_NONBLOCK); }
static long boot(void) { return reboot(RB_DISABLE_CAD); }
static long swap(void) { return swapoff("/no/such/swap"); }
static long set_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return clock_settime(CLOCK_REALTIME, &now);
}
static long adjust_clock(void) {
  struct timex change = {.modes = ADJ_TICK, .tick = 10000};
  return adjtimex(&change);
}
static long rename_host(void) { return sethostname("buildkitsandbox", 15); }
static long read_log(void) {
  char buffer[64];
  return syscall(SYS_syslog, 3, buffer, sizeof buffer);
}
static long ports(void) { return ioperm(0x80, 1, 1); }
static long all_ports(void) { return iopl(3); }
static long accounting(void) { return syscall(SYS_acct, NULL); }
static long quota(void) { return syscall(SYS_quotactl, 0x80000100, NULL, 0, NULL); }
static long by_handle(void) {  // "shocker": walks the host's file system by inode number
  struct {
    struct file_handle head;
    unsigned char bytes[8];
  } handle = {{8, 1}, {2, 0, 0, 0, 0, 0, 0, 0}};
  return syscall(SYS_open_by_handle_at, open("/etc/hosts", O_RDONLY), &handle, O_RDONLY);
}
static long climb_out(void) {
  mkdir("/jail", 0700);
  if (chroot("/jail") != 0) return -1;
  for (int i = 0; i < 100; ++i) (void)chdir("..");
  if (chroot(".") != 0) return -1;
  return opens(host_file, O_RDONLY);
}
static long through_links(void) {
  unlink("/out");
  char target[4200];
  snprintf(target, sizeof target, "../../../../../../../..%s", host_file);
  if (symlink(target, "/out") != 0) return -1;
  return opens("/out", O_RDONLY);
}
static long inherited(void) {
  for (int fd = 3; fd < 1024; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) return 0;
  }
  errno = EBADF;
  return -1;
}
static long interfaces(void) {
  struct ifreq request = {.ifr_name = "lo"};
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  return ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &request);
}
static long routes(void) {
  struct {
    struct nlmsghdr head;
    struct rtmsg body;
  } message = {{sizeof message, RTM_DELROUTE, NLM_F_REQUEST | NLM_F_ACK, 1, 0},
               {.rtm_family = AF_INET, .rtm_table = 251, .rtm_dst_len = 32}};
  struct {
    struct nlmsghdr head;
    struct nlmsgerr error;
    char rest[256];
  } answer;
  int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  if (fd < 0 || send(fd, &message, sizeof message, 0) < 0) return -1;
  if (recv(fd, &answer, sizeof answer, 0) < 0) return -1;
  errno = -answer.error.error;
  return answer.error.error == 0 ? 0 : -1;
}
static long raw_socket(void) { return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); }
static long packet_socket(void) { return socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)); }
static long vsock(void) { return socket(AF_VSOCK, SOCK_STREAM, 0); }
static long tunnel(void) {
  mkdir("/dev/net", 0755);
  if (mknod("/dev/net/tun", S_IFCHR | 0600, makedev(10, 200)) != 0 && errno != EEXIST) return -1;
  int fd = open("/dev/net/tun", O_RDWR);
  struct ifreq request = {.ifr_flags = 1 /* a tun */};
  return fd < 0 ? -1 : ioctl(fd, _IOW('T', 202, int), &request);
}
static long terminal(void) {
  char byte = '\n';
  return ioctl(0, TIOCSTI, &byte);
}
static long disk(void) { return node(S_IFBLK, 254, 0) >= 0 || errno != EPERM ? node(S_IFBLK, 8, 0) : -1; }
static long loop(void) { return node(S_IFBLK, 7, 0); }
static long loop_control(void) { return node(S_IFCHR, 10, 237); }
static long memory(void) { return node(S_IFCHR, 1, 1); }
static long port_device(void) { return node(S_IFCHR, 1, 4); }
static long kernel_log(void) { return node(S_IFCHR, 1, 11); }
static long fuse(void) { return node(S_IFCHR, 10, 229); }
static long kvm(void) { return node(S_IFCHR, 10, 232); }

int main(int count, char** words) {
  host_pid = atoi(words[1]);
  host_file = words[2];
  (void)count;
  mkdir("/mnt", 0755);
  say("descriptors inherited", inherited());
#define APART(name, function) apart(name, function)
  APART("mount a tmpfs", mount_tmpfs);
  APART("mount by bind", mount_bind);
  APART("mount proc", mount_proc);
  APART("mount an overlay", mount_overlay);
  APART("remount /sys writable", remount_sys);
  APART("unmount /proc", unmount_proc);
  APART("make mounts shared", make_shared);
  APART("open_tree", tree_of);
  APART("fsopen", new_filesystem);
  APART("mount_setattr", change_mount);
  APART("pivot_root", pivot);
  APART("unshare a user namespace", unshare_user);
  APART("unshare a mount namespace", unshare_mounts);
  APART("unshare a network namespace", unshare_net);
  APART("clone into a user namespace", clone_user);
  APART("setns to a mount namespace", enter_mounts);
  APART("setns to a network namespace", enter_net);
  APART("ptrace a process of the host", trace_host);
  APART("signal a process of the host", signal_host);
  APART("pidfd of a process of the host", descriptor_of_host);
  APART("memory of a process of the host", memory_of_host);
  APART("priority of a process of the host", priority_of_host);
  APART("raise its own priority", own_priority);
  APART("add_key", add_key);
  APART("request_key", request_key);
  APART("keyctl", keyctl);
  APART("bpf", bpf_map);
  APART("io_uring", uring);
  APART("userfaultfd", faults);
  APART("perf_event_open", perf);
  APART("kexec_load", kexec);
  APART("init_module", load_module);
  APART("delete_module", unload_module);
  APART("reboot", boot);
  APART("swapoff", swap);
  APART("clock_settime", set_clock);
  APART("adjtimex", adjust_clock);
  APART("sethostname", rename_host);
  APART("syslog", read_log);
  APART("ioperm", ports);
  APART("iopl", all_ports);
  APART("acct", accounting);
  APART("quotactl", quota);
  APART("open_by_handle_at", by_handle);
  APART("climb out of a chroot", climb_out);
  APART("a host file through a link", through_links);
  APART("change an interface", interfaces);
  APART("change routes", routes);
  APART("raw socket", raw_socket);
  APART("packet socket", packet_socket);
  APART("vsock", vsock);
  APART("tun device", tunnel);
  APART("type into the terminal", terminal);
  APART("disk by its number", disk);
  APART("loop device", loop);
  APART("loop-control", loop_control);
  APART("/dev/mem", memory);
  APART("/dev/port", port_device);
  APART("/dev/kmsg", kernel_log);
  APART("/dev/fuse", fuse);
  APART("/dev/kvm", kvm);
  say("write core_pattern", opens("/proc/sys/kernel/core_pattern", O_WRONLY));
  say("write a sysctl of the network", opens("/proc/sys/net/ipv4/ip_forward", O_WRONLY));
  say("write sysrq-trigger", opens("/proc/sysrq-trigger", O_WRONLY));
  say("write /proc/irq", opens("/proc/irq/default_smp_affinity", O_WRONLY));
  say("write uevent_helper", opens("/sys/kernel/uevent_helper", O_WRONLY));
  say("write below /sys", opens("/sys/kernel/mm/transparent_hugepage/enabled", O_WRONLY));
  mkdir("/sys/fs/cgroup/escape", 0755);  // with cgroup v1 a folder of the step's own, with nothing in it
  say("make a cgroup", opens("/sys/fs/cgroup/escape/cgroup.procs", O_WRONLY));
  say("make a cgroup in a hierarchy", mkdir("/sys/fs/cgroup/memory/escape", 0755));
  say("write release_agent", opens("/sys/fs/cgroup/memory/release_agent", O_WRONLY));
  say("write cgroup.procs", opens("/sys/fs/cgroup/memory/cgroup.procs", O_WRONLY));
  say("read /proc/kcore", reads("/proc/kcore"));
  say("read /proc/keys", reads("/proc/keys"));
  say("read /proc/timer_list", reads("/proc/timer_list"));
  say("read /sys/firmware", opens("/sys/firmware/acpi/tables/DSDT", O_RDONLY));
  say("write /etc/hosts of the step", opens("/etc/hosts", O_WRONLY));
  say("write /etc/resolv.conf of the step", opens("/etc/resolv.conf", O_WRONLY));
  return 0;
}
