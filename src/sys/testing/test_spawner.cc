#include "sys/testing/test_spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "base/check.h"
#include "base/log.h"
#include "sys/file_info.h"
#include "sys/mounts.h"

namespace kiln::sys {
namespace {
Spawner* test_spawner = nullptr;
}  // namespace

Spawner& TestSpawner() {
  CHECK_MSG(test_spawner != nullptr,
            "the module's CMakeLists.txt must say TEST_MAIN kiln_sys_test_main");
  return *test_spawner;
}

void SetTestSpawner(Spawner* spawner) { test_spawner = spawner; }

void MakeChain(const std::string& directory, const std::string& name, int levels) {
  Fd at(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int level = 0; level < levels; ++level) {
    CHECK(mkdirat(at.get(), name.c_str(), 0755) == 0);
    at = Fd(openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    CHECK(at.valid());
  }
}

TempDir::TempDir() {
  const char* base = std::getenv("TMPDIR");
  path_ = std::string(base != nullptr ? base : "/tmp") + "/kiln-test-XXXXXX";
  CHECK(mkdtemp(path_.data()) != nullptr);
}

TempDir::~TempDir() {
  if (auto unmounted = UnmountBelow(path_); !unmounted.ok()) LOG_ERROR("{}", unmounted.error());
  if (auto removed = RemoveTree(path_); !removed.ok()) LOG_ERROR("{}", removed.error());
}

std::string ProgramBeside(const std::string& name) {
  return (std::filesystem::absolute(program_invocation_name).parent_path() / name).string();
}

}  // namespace kiln::sys
