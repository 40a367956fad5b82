// The subject of spawner tests: does what its arguments say, one after the other.
#include <dirent.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

void PrintDescriptors() {
  DIR* directory = opendir("/proc/self/fd");
  std::string open;
  while (dirent* entry = readdir(directory)) {
    int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != dirfd(directory)) open += std::string(entry->d_name) + " ";
  }
  closedir(directory);
  std::printf("fds %s\n", open.c_str());
}

// What a program can inherit: handlers never survive exec (a sanitizer's runtime sets some later).
void PrintSignals() {
  sigset_t blocked;
  sigprocmask(SIG_SETMASK, nullptr, &blocked);
  int odd = 0;
  for (int signal = 1; signal < 32; ++signal) {
    struct sigaction action{};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler == SIG_IGN || sigismember(&blocked, signal) == 1) ++odd;
  }
  std::printf("odd signals %d\n", odd);
}

void PrintState() {
  char cwd[4096];
  int death = 0;
  prctl(PR_GET_PDEATHSIG, &death);
  mode_t mask = umask(0);
  umask(mask);
  std::printf("cwd %s\numask %o\nsession %d\ngroup %d\ndeath %d\n", getcwd(cwd, sizeof cwd), mask,
              getsid(0) == getpid(), getpgrp() == getpid(), death);
}

// A grandchild that ignores everything, lives in a session of its own and tells its number.
void LeaveOrphan() {
  pid_t child = fork();
  if (child == 0) {
    setsid();
    std::signal(SIGTERM, SIG_IGN);
    for (;;) pause();
  }
  std::printf("orphan %d\n", child);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string what = argv[i];
    if (what == "fds") PrintDescriptors();
    if (what == "signals") PrintSignals();
    if (what == "state") PrintState();
    if (what == "orphan") LeaveOrphan();
    if (what == "ignore-term") std::signal(SIGTERM, SIG_IGN);
    if (what == "cat") {
      char buffer[4096];
      for (ssize_t got; (got = read(0, buffer, sizeof buffer)) > 0;)
        (void)!write(1, buffer, static_cast<size_t>(got));
    }
    if (what.starts_with("print=")) std::printf("%s\n", what.c_str() + 6);
    if (what.starts_with("error=")) std::fprintf(stderr, "%s\n", what.c_str() + 6);
    if (what.starts_with("env=")) std::printf("%s\n", std::getenv(what.c_str() + 4));
    if (what.starts_with("write=")) dprintf(std::atoi(what.c_str() + 6), "hello");
    if (what.starts_with("fill=")) {
      for (int n = std::atoi(what.c_str() + 5); n > 0; --n) std::printf("%09d\n", n);
    }
    std::fflush(stdout);
    if (what == "wait") {
      for (;;) pause();
    }
    if (what.starts_with("signal=")) raise(std::atoi(what.c_str() + 7));
    if (what.starts_with("exit=")) return std::atoi(what.c_str() + 5);
  }
  return 0;
}
