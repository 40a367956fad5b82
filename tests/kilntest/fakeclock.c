// Linked into a daemon with --wrap (src/cmd/CMakeLists.txt): the clock of civil time is off by what
// a file says (8 bytes, nanoseconds), from one moment to the next. Unlike with libfaketime, waits
// end when they should: absl waits until points of that clock, in the kernel, which knows nothing
// of the file; those are moved back. And nothing is locked or opened on the way.
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

long __real_syscall(long number, ...);

static const int64_t kSecond = 1000000000;
static volatile int64_t zero;
static volatile int64_t* offset = &zero;

__attribute__((constructor)) static void Begin(void) {
  const char* path = getenv("KILNTEST_CLOCK");
  const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void* mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
  if (mapped != MAP_FAILED) offset = mapped;
  close(fd);
}

static void Shift(struct timespec* time, int64_t by) {
  const int64_t all = time->tv_sec * kSecond + time->tv_nsec + by;
  time->tv_sec = all / kSecond;
  time->tv_nsec = all % kSecond;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec* time) {
  const int result = (int)__real_syscall(SYS_clock_gettime, clock, time);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    Shift(time, *offset);
  return result;
}

int __wrap_gettimeofday(struct timeval* restrict time, void* restrict zone) {
  (void)zone;
  struct timespec now;
  __wrap_clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t __wrap_time(time_t* result) {
  struct timespec now;
  __wrap_clock_gettime(CLOCK_REALTIME, &now);
  if (result != NULL) *result = now.tv_sec;
  return now.tv_sec;
}

long __wrap_syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a[6];
  for (int i = 0; i < 6; ++i) a[i] = va_arg(list, long);
  va_end(list);
  struct timespec until;
  const int waits = FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME;
  if (number == SYS_futex && (a[1] & ~FUTEX_PRIVATE_FLAG) == waits && a[3] != 0) {
    until = *(const struct timespec*)a[3];
    Shift(&until, -*offset);
    if (until.tv_sec < 0 || until.tv_nsec < 0) until.tv_sec = until.tv_nsec = 0;
    a[3] = (long)&until;
  }
  return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
