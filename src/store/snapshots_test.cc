#include "store/snapshots.h"

#include "store/testing/store_fixture.h"

namespace kiln::store {
namespace {

TEST_F(StoreTest, MergesStackTheirInputs) {
  const SnapshotRef a = CommitFiles(*store_, {}, Files{{"/x", "a"}, {"/only-a", "a"}});
  const SnapshotRef base = CommitFiles(*store_, {}, Files{{"/dir/y", "base"}});
  const SnapshotRef b = CommitFiles(*store_, base, Files{{"/x", "b"}}, {"/dir/y"});
  const std::vector<SnapshotRef> inputs{a, SnapshotRef(), b};
  const SnapshotRef merged = Must(store_->Merge(inputs, {}));
  const TreeView view = Must(store_->Tree(merged));
  EXPECT_EQ(Must(view.ReadFile("/x")), "b");
  EXPECT_EQ(Must(view.ReadFile("/only-a")), "a");
  EXPECT_FALSE(view.Lookup("/dir/y").ok());
  EXPECT_EQ(Mounted(merged), Shown(merged));
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), merged, {})).size(), 3U);
  const std::vector<SnapshotRef> twice{a, a};
  EXPECT_EQ(Mounted(Must(store_->Merge(twice, {}))), Shown(a));
}

TEST_F(StoreTest, MergesOfMergesCannotGrowForEver) {
  SnapshotRef ref = CommitFiles(*store_, {}, Files{{"/x", "a"}});
  const std::string id = ref.id();
  size_t doublings = 0;
  while (true) {
    const std::vector<SnapshotRef> twice{ref, ref};
    auto merged = store_->Merge(twice, {});
    if (!merged.ok()) {
      EXPECT_EQ(merged.error().code(), Code::kResourceExhausted);
      break;
    }
    ref = std::move(*merged);
    ++doublings;
  }
  EXPECT_EQ(doublings, 13U);  // 8192 layers
  EXPECT_TRUE(store_->Claim(id).ok());
}

TEST_F(StoreTest, DifferencesReuseLayers) {
  const SnapshotRef base = CommitFiles(*store_, {}, Files{{"/a", "1"}, {"/d/b", "1"}});
  const SnapshotRef one = CommitFiles(*store_, base, Files{{"/c", "2"}}, {"/d/b"});
  const SnapshotRef two = CommitFiles(*store_, one, Files{{"/e", "3"}});
  const SnapshotRef diff = Must(store_->Diff(Activity(), base, two, {}));
  EXPECT_EQ(Mounted(diff), Shown(diff));
  const auto diff_blobs = Must(store_->LayerBlobs(Activity(), diff, {}));
  const auto two_blobs = Must(store_->LayerBlobs(Activity(), two, {}));
  ASSERT_EQ(diff_blobs.size(), 2U);
  EXPECT_EQ(diff_blobs[0].descriptor.digest, two_blobs[1].descriptor.digest);
  EXPECT_EQ(diff_blobs[1].descriptor.digest, two_blobs[2].descriptor.digest);
  EXPECT_TRUE(Must(store_->Diff(Activity(), two, two, {})).is_scratch());
  EXPECT_EQ(Must(store_->Diff(Activity(), {}, two, {})), two);
}

TEST_F(StoreTest, DifferencesOfStrangersAreComputed) {
  const SnapshotRef a = CommitFiles(
      *store_, {}, Files{{"/same/f", "1"}, {"/gone", "1"}, {"/d/x", "1"}, {"/type", "file"}});
  const SnapshotRef b = CommitFiles(
      *store_, {}, Files{{"/same/f", "1"}, {"/d/x", "22"}, {"/d/new", "1"}, {"/type/now", "dir"}});
  const SnapshotRef diff = Must(store_->Diff(Activity(), a, b, {}));
  const std::vector<SnapshotRef> inputs{a, diff};
  const SnapshotRef rebuilt = Must(store_->Merge(inputs, {}));
  EXPECT_EQ(Shown(rebuilt), Shown(b));
  EXPECT_EQ(Mounted(rebuilt), Shown(b));
  EXPECT_FALSE(Must(store_->Tree(diff)).Lookup("/same/f").ok());
  const SnapshotRef deletions = Must(store_->Diff(Activity(), a, {}, {}));
  EXPECT_TRUE(
      Must(Must(store_->Tree(deletions)).Children(Must(Must(store_->Tree(deletions)).Root())))
          .empty());
}

}  // namespace
}  // namespace kiln::store
