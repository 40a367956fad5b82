#include "cmd/interrupt.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "base/thread.h"

namespace kiln::cmd {
namespace {

sigset_t Interrupts() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, number);
  return set;
}

void Mask(int how) {
  sigset_t set = Interrupts();
  CHECK(::pthread_sigmask(how, &set, nullptr) == 0);
}

void Watch(int wake, const std::function<void(int)>& first) {
  sigset_t set = Interrupts();
  Fd signals(::signalfd(-1, &set, SFD_CLOEXEC));
  CHECK(signals.valid());
  for (bool again = false;;) {
    pollfd waits[2] = {{signals.get(), POLLIN, 0}, {wake, POLLIN, 0}};
    if (::poll(waits, 2, -1) < 0) continue;
    if (waits[1].revents != 0) return;
    signalfd_siginfo info;
    if (::read(signals.get(), &info, sizeof info) != sizeof info) continue;
    auto number = static_cast<int>(info.ssi_signo);
    if (again) ::_exit(128 + number);
    again = true;
    first(number);
  }
}

}  // namespace

void BlockInterrupts() { Mask(SIG_BLOCK); }

InterruptsEndProcess::InterruptsEndProcess() { Mask(SIG_UNBLOCK); }
InterruptsEndProcess::~InterruptsEndProcess() { Mask(SIG_BLOCK); }

InterruptWatcher::InterruptWatcher(std::function<void(int)> first)
    : wake_(::eventfd(0, EFD_CLOEXEC)),
      thread_(AwaitThread("kiln-signals",
                          [wake = wake_, call = std::move(first)] { Watch(wake, call); })) {}

InterruptWatcher::~InterruptWatcher() {
  uint64_t one = 1;
  CHECK(::write(wake_, &one, sizeof one) == sizeof one);
  thread_.join();
  ::close(wake_);
}

}  // namespace kiln::cmd
