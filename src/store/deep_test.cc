// Trees that are deeper than a path can say, which any step can make.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/thread.h"
#include "store/delta.h"
#include "store/store.h"
#include "store/testing/files.h"
#include "sys/testing/test_spawner.h"

namespace kiln::store {
namespace {

using progress::Activity;
using sys::MakeChain;
using sys::TempDir;

constexpr int kDeeperThanAnyPath = 6'000;
constexpr int kAsDeepAsPathsGo = 2'000;

class DeepTest : public testing::Test {
 protected:
  DeepTest() {
    StoreOptions options;
    options.root = temp_ / "root";
    store_ = Must(Store::Open(options));
  }

  // What a step leaves that makes `levels` directories.
  SnapshotRef Deep(int levels) {
    ActiveSnapshot active = Must(store_->Prepare(Activity(), SnapshotRef()));
    // On nothing: mounted as it is.
    MakeChain(std::get<sys::BindMount>(active.Mount().what).source, "d", levels);
    return Must(store_->Commit(std::move(active), CommitOptions()));
  }
  void GoAllTheWay();

  TempDir temp_;
  std::unique_ptr<Store> store_;
};

TEST_F(DeepTest, AStepMayLeaveThem) {
  const SnapshotRef deep = Deep(kDeeperThanAnyPath);
  const auto usage = Must(store_->DiskUsage({}));
  ASSERT_EQ(usage.size(), 1u);
  EXPECT_GT(usage[0].size_bytes, uint64_t{kDeeperThanAnyPath});
}

// Whoever needs paths says which one is too long, and nothing worse happens.
TEST_F(DeepTest, TheyAreNoLayer) {
  const SnapshotRef deep = Deep(kDeeperThanAnyPath);
  const auto blobs = store_->LayerBlobs(Activity(), deep, {});
  ASSERT_FALSE(blobs.ok());
  EXPECT_NE(blobs.error().ToString().find("too long"), std::string::npos)
      << blobs.error().ToString();
}

TEST_F(DeepTest, WhatPathsCanSayGoesAllTheWay) {
  // As the engine does: on a thread of this project, whose stack is large enough.
  std::thread thread = Must(StartThread("deep", [this] { GoAllTheWay(); }));
  thread.join();
}

void DeepTest::GoAllTheWay() {
  const SnapshotRef deep = Deep(kAsDeepAsPathsGo);
  EXPECT_TRUE(store_->LayerBlobs(Activity(), deep, {}).ok());
  const SnapshotRef other = CommitFiles(*store_, {}, {{"/f", "x"}});
  const SnapshotRef merged =
      Must(store_->Merge(std::vector<SnapshotRef>{other, deep}, CommitOptions()));
  EXPECT_TRUE(store_->ViewMount(merged).ok());
  const SnapshotRef difference = Must(store_->Diff(Activity(), other, deep, CommitOptions()));
  EXPECT_TRUE(store_->LayerBlobs(Activity(), difference, {}).ok());
  const TreeView view = Must(store_->Tree(deep));
  int seen = 0;
  Must(view.Walk(Must(view.Root()), [&](const TreeEntry&) -> Result<bool> {
    ++seen;
    return true;
  }));
  EXPECT_EQ(seen, kAsDeepAsPathsGo + 1);
}

TEST(DeltaTest, OpaqueDirectoriesAreFoundAtTheBottom) {
  TempDir dir;
  // Opaque at its top, in its middle and at its end, and too deep for a path.
  MakeChain(dir.path(), "d", kDeeperThanAnyPath);
  Fd at(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::vector<Fd> opaque;
  for (int level = 1; level <= kDeeperThanAnyPath; ++level) {
    at = Fd(openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(at.valid());
    if (level != 1 && level % 3'000 != 0) continue;
    ASSERT_EQ(fsetxattr(at.get(), "trusted.overlay.opaque", "y", 1, 0), 0);
    opaque.push_back(Must(at.Dup()));
  }
  Must(NormalizeDelta(dir.path(), TreeView(), {}));
  ASSERT_EQ(opaque.size(), 3u);
  for (const Fd& dir_fd : opaque)
    EXPECT_LT(fgetxattr(dir_fd.get(), "trusted.overlay.opaque", nullptr, 0), 0);
}

}  // namespace
}  // namespace kiln::store
