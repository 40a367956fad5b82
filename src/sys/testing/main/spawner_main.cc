// The main of test binaries that start processes or mount: the spawner must be forked before gtest
// or anything else makes threads.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "sys/main_early.h"
#include "sys/testing/test_spawner.h"

int main(int argc, char** argv) {
  auto spawner = kiln::sys::MainEarly({.mount_namespace_optional = true});
  if (!spawner.ok()) {
    fmt::print(stderr, "{}\n", spawner.error());
    return 1;
  }
  kiln::sys::SetTestSpawner(spawner->get());
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
