#include "store/janitor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "store/testing/files.h"
#include "sys/testing/test_spawner.h"

namespace kiln::store {
namespace {

TEST(JanitorTest, SyncsWhileThereIsMuchToDelete) {
  const sys::TempDir temp;
  std::vector<std::string> doomed;
  for (int d = 0; d < 20; ++d) {
    doomed.push_back(temp / std::to_string(d));
    MakeDirectory(doomed.back());
    for (int f = 0; f < 500; ++f) MakeFile(doomed.back() + "/" + std::to_string(f), "");
  }
  std::atomic<int> left_at_sync = -1;
  const auto janitor =
      Must(Janitor::Start([&] { left_at_sync = access(doomed.back().c_str(), F_OK) == 0 ? 1 : 0; },
                          std::chrono::milliseconds(0)));
  for (const std::string& path : doomed) janitor->Delete(path);
  janitor->WantSync();
  janitor->Drain();
  EXPECT_EQ(left_at_sync, 1);
  EXPECT_NE(access(doomed.front().c_str(), F_OK), 0);
}

}  // namespace
}  // namespace kiln::store
