// Owns a spawner with a child and, through it, an orphan; prints the numbers of all three, waits
// for the end of its input and then leaves in the way that its argument says.
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "base/strings.h"
#include "sys/main_early.h"

namespace {

using kiln::sys::Child;
using kiln::sys::Spawner;

// The spawner dies: what do its users see?
int Lose(Spawner& spawner, Child& child) {
  kill(spawner.pid(), SIGKILL);
  fmt::print("wait: {}\n", child.Wait({}).error());
  fmt::print("start: {}\n", spawner.Start({.program = "/bin/true", .argv = {"true"}}).error());
  return 0;
}

std::string Self() {
  char path[4096];
  ssize_t got = readlink("/proc/self/exe", path, sizeof path);
  return std::string(path, static_cast<size_t>(got));
}

}  // namespace

int main(int, char** argv) {
  std::string way = argv[1];
  const std::string self = Self();  // before there are mounts of its own: see ProgramBeside
  auto early = kiln::sys::MainEarly({.mount_namespace_optional = true}).value();
  std::unique_ptr<kiln::sys::Spawner> spawner = std::move(early.spawner);
  auto output = kiln::Pipe().value();
  kiln::sys::ProcessRequest request{.program = kiln::DirName(self) + "/sys_child",
                                    .argv = {"child", "orphan", "wait"}};
  request.fds.push_back({std::move(output.second), 1});
  Child child = spawner->Start(std::move(request)).value();
  if (way == "lose") return Lose(*spawner, child);
  char orphan[64] = {};
  (void)!read(output.first.get(), orphan, sizeof orphan - 1);
  fmt::print("{} {} {}\n", spawner->pid(), child.pid(),
             kiln::Trim(std::string_view(orphan).substr(7)));
  std::fflush(stdout);
  char byte;
  (void)!read(0, &byte, 1);
  if (way == "exit") _exit(0);
  if (way == "destroy") spawner.reset();
  return 0;
}
