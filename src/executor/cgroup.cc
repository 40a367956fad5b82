#include "executor/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/fd.h"
#include "base/strings.h"
#include "sys/file_info.h"

namespace kiln::executor {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPause(5);

// The directory and all below it, deepest first.
std::vector<std::string> Tree(const std::string& directory) {
  std::vector<std::string> all = {directory};
  for (size_t i = 0; i < all.size(); ++i) {
    std::string at = all[i];
    auto fd = OpenFile(at, O_RDONLY | O_DIRECTORY);
    if (!fd.ok()) continue;
    auto entries = sys::ReadDir(fd->get());
    if (!entries.ok()) continue;
    for (const sys::DirEntry& entry : *entries) {
      if (entry.type == DT_DIR) all.push_back(at + "/" + entry.name);
    }
  }
  std::reverse(all.begin(), all.end());
  return all;
}

void KillAll(const std::string& directory) {
  // cgroup v2 since 5.14 does it in one go; else one by one.
  if (auto kill_file = OpenFile(directory + "/cgroup.kill", O_WRONLY); kill_file.ok())
    (void)WriteAll(kill_file->get(), "1").ok();
  auto processes = ReadFile(directory + "/cgroup.procs");
  if (!processes.ok()) return;
  for (std::string_view line : Split(*processes, '\n')) {
    if (auto pid = ParseUint(Trim(line)); pid && *pid > 1) kill(static_cast<pid_t>(*pid), SIGKILL);
  }
}

// The number after `key` in a flat keyed file.
uint64_t CounterIn(const std::string& file, std::string_view key) {
  auto text = ReadFile(file);
  if (!text.ok()) return 0;
  for (std::string_view line : Split(*text, '\n')) {
    auto cut = Cut(line, " ");
    if (cut && cut->first == key) return ParseUint(Trim(cut->second)).value_or(0);
  }
  return 0;
}

}  // namespace

ContainerCgroup::ContainerCgroup(const std::vector<std::string>& roots, const std::string& path) {
  if (!path.starts_with('/')) return;
  for (const std::string& root : roots) directories_.push_back(root + path);
}

bool ContainerCgroup::exists() const {
  return std::any_of(directories_.begin(), directories_.end(), [](const std::string& directory) {
    return access(directory.c_str(), F_OK) == 0;
  });
}

bool ContainerCgroup::OutOfMemory() const {
  return std::any_of(directories_.begin(), directories_.end(), [](const std::string& directory) {
    return CounterIn(directory + "/memory.events", "oom_kill") != 0 ||
           CounterIn(directory + "/memory.oom_control", "oom_kill") != 0;
  });
}

Status ContainerCgroup::Destroy(std::chrono::milliseconds patience) const {
  auto deadline = steady_clock::now() + patience;
  for (const std::string& top : directories_) {
    for (const std::string& directory : Tree(top)) {
      for (;;) {
        KillAll(directory);
        if (rmdir(directory.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) break;
        if (errno != EBUSY) return ErrnoError(errno, "remove cgroup {}", directory);
        if (steady_clock::now() >= deadline)
          return DeadlineExceeded("processes in cgroup {} do not end", directory);
        poll(nullptr, 0,
             static_cast<int>(kPause.count()));  // the kernel tells nobody when a v1 group is empty
      }
    }
  }
  return OkStatus();
}

std::vector<std::string> CgroupRoots(const std::vector<sys::MountInfo>& mounts) {
  std::vector<std::string> roots;
  for (const sys::MountInfo& mount : mounts) {
    bool cgroup = mount.fs_type == "cgroup" || mount.fs_type == "cgroup2";
    if (cgroup && std::find(roots.begin(), roots.end(), mount.target) == roots.end())
      roots.push_back(mount.target);
  }
  return roots;
}

}  // namespace kiln::executor
