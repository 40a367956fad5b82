#include "store/janitor.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

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

// Wherever in a tree the many files are: the daemon's end does not wait for them, and the next
// start has the rest.
TEST(JanitorTest, EndsInTheMiddleOfALargeTree) {
  constexpr nlink_t kFolders = 400;
  for (const std::string below : {"", "/fs/a/b/c/d"}) {
    const sys::TempDir temp;
    const std::string tree = temp / "1";
    const std::string large = tree + below;
    std::filesystem::create_directories(large);
    for (nlink_t d = 0; d < kFolders; ++d) {
      const std::string folder = large + "/" + std::to_string(d);
      MakeDirectory(folder);
      for (int f = 0; f < 25; ++f) MakeFile(folder + "/" + std::to_string(f), "");
    }
    const auto folders = [&] {
      struct stat info{};
      return stat(large.c_str(), &info) == 0 ? info.st_nlink - 2 : 0;
    };
    ASSERT_EQ(folders(), kFolders);
    auto janitor = Must(Janitor::Start([] {}, std::chrono::milliseconds(0)));
    janitor->Delete(tree);
    while (folders() == kFolders) std::this_thread::yield();
    janitor.reset();
    EXPECT_GT(folders(), 0U) << below;
    janitor = Must(Janitor::Start([] {}, std::chrono::milliseconds(0)));
    janitor->Delete(tree);
    janitor->Drain();
    EXPECT_NE(access(tree.c_str(), F_OK), 0) << below;
  }
}

}  // namespace
}  // namespace kiln::store
