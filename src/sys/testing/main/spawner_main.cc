// The main of test binaries that start processes or mount: the spawner must be forked before gtest
// or anything else makes threads.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "sys/main_early.h"
#include "sys/testing/test_spawner.h"

int main(int argc, char** argv) {
  auto early = kiln::sys::MainEarly({.mount_namespace_optional = true});
  if (!early.ok()) {
    fmt::print(stderr, "{}\n", early.error());
    return 1;
  }
  kiln::sys::SetTestSpawner(early->spawner.get());
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
