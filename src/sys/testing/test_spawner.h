#pragma once

#include <string>

#include "sys/spawner.h"

namespace kiln::sys {

// The spawner of a test binary whose module says TEST_MAIN kiln_sys_test_main: forked before any
// thread, lives until main returns. Such a binary runs in a mount namespace of its own where the
// user may make one.
Spawner& TestSpawner();
// For the test's main.
void SetTestSpawner(Spawner* spawner);

// The path of a program that was built beside the running test. (/proc/self/exe would say where it
// lies, but not as seen from within a chroot once the test has mounts of its own.)
std::string ProgramBeside(const std::string& name);

// Makes `levels` directories of that name one in the other below `directory`, deeper than any path
// can say if need be; fails the process if it cannot.
void MakeChain(const std::string& directory, const std::string& name, int levels);

// A new directory, removed with everything mounted and lying below it when the object goes.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace kiln::sys
