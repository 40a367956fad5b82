#include "store/layers.h"

#include <thread>

#include "store/testing/store_fixture.h"

namespace kiln::store {
namespace {

TEST_F(StoreTest, LazyChainsAreFetchedWhenNeeded) {
  const std::vector<LazyLayer> layers{MakeLazy({{"a", "1"}, {"gone", "x"}}),
                                      MakeLazy({{"b", "2"}, {".wh.gone", ""}})};
  const SnapshotRef ref = Must(store_->ImportChain(layers));
  EXPECT_FALSE(Must(store_->IsLocal(ref)));
  EXPECT_EQ(Must(store_->ImportChain(layers)), ref);
  EXPECT_EQ(source_.fetches, 0);
  EXPECT_FALSE(store_->Tree(ref).ok());
  Must(store_->EnsureLocal(Activity(), ref));
  EXPECT_EQ(source_.fetches, 2);
  EXPECT_EQ(Shown(ref), Mounted(ref));
  EXPECT_EQ(Must(Must(store_->Tree(ref)).ReadFile("/b")), "2");
  EXPECT_FALSE(Must(store_->Tree(ref)).Lookup("/gone").ok());
  const auto blobs = Must(store_->LayerBlobs(Activity(), ref, {}));
  ASSERT_EQ(blobs.size(), 2U);
  EXPECT_EQ(blobs[1].descriptor.digest, layers[1].blob.digest);
  EXPECT_TRUE(blobs[1].local);
  EXPECT_EQ(Must(store_->FindByChain(*Must(store_->Info(ref)).chain_id)), ref);
}

TEST_F(StoreTest, PrefixesOfChainsAreShared) {
  const std::vector<LazyLayer> layers{MakeLazy({{"a", "1"}}), MakeLazy({{"b", "2"}}),
                                      MakeLazy({{"c", "3"}})};
  const SnapshotRef shorter = Must(store_->ImportChain(std::span(layers).first(2)));
  const SnapshotRef longer = Must(store_->ImportChain(layers));
  EXPECT_EQ(Must(store_->DiskUsage({})).size(), 3U);
  Must(store_->EnsureLocal(Activity(), shorter));
  Must(store_->EnsureLocal(Activity(), longer));
  EXPECT_EQ(source_.fetches, 3);
}

TEST_F(StoreTest, ConcurrentReadersFetchOnce) {
  std::vector<LazyLayer> layers;
  for (int i = 0; i < 12; ++i)
    layers.push_back(MakeLazy({{"deep/er/f" + std::to_string(i), std::to_string(i)}}));
  const SnapshotRef ref = Must(store_->ImportChain(layers));
  std::vector<std::thread> readers;
  std::atomic<int> good = 0;
  for (int i = 0; i < 6; ++i)
    readers.emplace_back([&] { good += store_->EnsureLocal(Activity(), ref).ok() ? 1 : 0; });
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(good, 6);
  EXPECT_EQ(source_.fetches, 12);
  EXPECT_EQ(Shown(ref), Mounted(ref));
}

TEST_F(StoreTest, LostLayersSaySo) {
  const std::vector<LazyLayer> layers{MakeLazy({{"a", "1"}})};
  source_.blobs.clear();
  const SnapshotRef ref = Must(store_->ImportChain(layers));
  const Status status = store_->EnsureLocal(Activity(), ref);
  ASSERT_FALSE(status.ok());
  EXPECT_TRUE(IsLost(status.error())) << status.error().ToString();
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "root/snapshots"));
}

TEST_F(StoreTest, WrongDiffIdsAreRefused) {
  std::vector<LazyLayer> layers{MakeLazy({{"a", "1"}})};
  layers[0].diff_id = Sha256Of("something else");
  const SnapshotRef ref = Must(store_->ImportChain(layers));
  const Status status = store_->EnsureLocal(Activity(), ref);
  EXPECT_EQ(status.error().code(), Code::kDataLoss) << status.error().ToString();
  EXPECT_FALSE(Must(store_->IsLocal(ref)));
}

}  // namespace
}  // namespace kiln::store
