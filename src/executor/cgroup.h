#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/mounts.h"

namespace kiln::executor {

// A container's cgroup directories, one per hierarchy that is mounted, seen through the file system
// alone: for what the runtime leaves behind when it is killed, and for the kernel's count of
// processes killed for want of memory.
class ContainerCgroup {
 public:
  // `roots`: where cgroup hierarchies are mounted; `path`: the spec's cgroupsPath. Without a path
  // (rootless, systemd) there is nothing to see.
  ContainerCgroup(const std::vector<std::string>& roots, const std::string& path);

  bool exists() const;
  // Has a process been killed because memory ran out?
  bool OutOfMemory() const;
  // Kills all in it until it is empty and removes it; gives up after `patience`.
  Status Destroy(std::chrono::milliseconds patience) const;

 private:
  std::vector<std::string> directories_;
};

// Mount points of cgroup and cgroup2 file systems.
std::vector<std::string> CgroupRoots(const std::vector<sys::MountInfo>& mounts);

}  // namespace kiln::executor
