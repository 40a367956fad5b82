#include "store/layer_blobs.h"

#include <thread>

#include "archive/compression.h"
#include "archive/tar.h"
#include "store/testing/store_fixture.h"

namespace kiln::store {
namespace {

TEST_F(StoreTest, AnEmptyLayerIsAThousandZeroBytes) {
  const SnapshotRef empty = CommitFiles(*store_, {}, Files{});
  LayerBlobOptions options;
  options.compression.type = archive::Compression::kNone;
  const auto layers = Must(store_->LayerBlobs(Activity(), empty, options));
  ASSERT_EQ(layers.size(), 1U);
  EXPECT_EQ(layers[0].diff_id.ToString(),
            "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
  EXPECT_EQ(layers[0].descriptor.digest, layers[0].diff_id);
}

TEST_F(StoreTest, LayerBlobsAreMadeOnceAndAlike) {
  const auto build = [&] {
    const SnapshotRef base =
        CommitFiles(*store_, {}, Files{{"/d/keep", "1"}, {"/d/change", "2"}, {"/d/go", "3"}});
    return CommitFiles(*store_, base, Files{{"/d/change", "changed"}, {"/new/x", "4"}},
                       {"/d/go", "/never"});
  };
  const SnapshotRef one = build();
  std::this_thread::sleep_for(std::chrono::seconds(1));  // what a time of now would show
  const SnapshotRef two = build();
  for (const SnapshotRef& ref : {one, two}) {
    const RecordInfo info = Must(store_->Info(ref));
    EXPECT_FALSE(info.chain_id);
  }
  const auto first = Must(store_->LayerBlobs(Activity(), one, {}));
  const auto second = Must(store_->LayerBlobs(Activity(), two, {}));
  ASSERT_EQ(first.size(), 2U);
  // The upper layers' directories have the times of the moment they were changed; the base is equal
  // in every byte.
  EXPECT_EQ(first[0].descriptor.digest, second[0].descriptor.digest);
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), one, {}))[1].descriptor.digest,
            first[1].descriptor.digest);
  EXPECT_TRUE(Must(store_->Info(one)).chain_id);

  // Unpacked elsewhere it is the same tree.
  std::vector<LazyLayer> layers;
  for (const LayerBlob& blob : first)
    layers.push_back({blob.descriptor, blob.diff_id, {{"fake", "x"}}, {}, {}});
  std::vector<std::string> names;
  const BlobRef blob = Must(store_->GetBlob(first[1].descriptor.digest));
  const Fd fd = Must(blob.Open());
  archive::FdSource file(fd.get());
  const auto tar = Must(archive::Decompress(file));
  archive::TarReader reader(*tar);
  archive::TarEntry entry;
  while (Must(reader.Next(&entry))) names.push_back(entry.path);
  EXPECT_EQ(names, (std::vector<std::string>{"d", "d/change", "d/.wh.go", "new", "new/x"}));
}

TEST_F(StoreTest, LostLayerBlobsAreMadeAgain) {
  const SnapshotRef ref = CommitFiles(*store_, {}, Files{{"/a", "1"}});
  const Digest digest = Must(store_->LayerBlobs(Activity(), ref, {}))[0].descriptor.digest;
  unlink((temp_ / ("root/blobs/sha256/" + digest.hex())).c_str());
  const LayerBlob again = Must(store_->LayerBlobs(Activity(), ref, {}))[0];
  EXPECT_EQ(again.descriptor.digest, digest);
  EXPECT_TRUE(again.local);
  EXPECT_TRUE(Must(store_->GetBlob(digest)).Open().ok());
}

TEST_F(StoreTest, ForcedCompressionConverts) {
  const std::vector<LazyLayer> layers{MakeLazy({{"a", std::string(100'000, 'a')}})};
  const SnapshotRef ref = Must(store_->ImportChain(layers));
  LayerBlobOptions options;
  options.compression.type = archive::Compression::kZstd;
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), ref, options))[0].descriptor.digest,
            layers[0].blob.digest);
  EXPECT_EQ(source_.fetches, 0);
  options.force = true;
  const LayerBlob zstd = Must(store_->LayerBlobs(Activity(), ref, options))[0];
  EXPECT_EQ(zstd.descriptor.media_type, oci::kOciLayerZstd);
  EXPECT_LT(zstd.descriptor.size, 1000);
  EXPECT_EQ(zstd.diff_id, layers[0].diff_id);
}

TEST_F(StoreTest, ClampedLayersHaveNoLaterTimes) {
  const SnapshotRef base = CommitFiles(*store_, {}, Files{{"/base", "1"}});
  const SnapshotRef top = CommitFiles(*store_, base, Files{{"/d/a", "2"}, {"/b", "3"}}, {"/base"});
  LayerBlobOptions options;
  options.compression.type = archive::Compression::kZstd;
  options.clamp = LayerBlobOptions::Clamp{.epoch_seconds = 1'000'000'000, .kept = {}};
  const auto fresh = Must(store_->LayerBlobs(Activity(), top, options));  // from the snapshot
  ASSERT_EQ(fresh.size(), 2U);
  const auto plain = Must(store_->LayerBlobs(Activity(), top, {}));
  EXPECT_NE(fresh[1].diff_id, plain[1].diff_id);
  EXPECT_EQ(fresh[1].descriptor.annotations.at(std::string(kRewrittenAnnotation)), "1000000000");
  const BlobRef blob = Must(store_->GetBlob(fresh[1].descriptor.digest));
  const Fd fd = Must(blob.Open());
  archive::FdSource file(fd.get());
  const auto tar = Must(archive::Decompress(file));
  archive::TarReader reader(*tar);
  archive::TarEntry entry;
  while (Must(reader.Next(&entry))) {
    EXPECT_LE(entry.mtime, WallTime(std::chrono::seconds(1'000'000'000))) << entry.path;
  }
  // Found again, and the same when made from a blob.
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), top, options))[1].descriptor, fresh[1].descriptor);
  options.compression.type = archive::Compression::kNone;
  const auto rewritten = Must(store_->LayerBlobs(Activity(), top, options));
  EXPECT_EQ(rewritten[1].diff_id, fresh[1].diff_id);
  // What the base image has stays, and the copies are nobody's layer.
  options.clamp->kept = {plain[0].diff_id};
  const auto kept = Must(store_->LayerBlobs(Activity(), top, options));
  EXPECT_EQ(kept[0].descriptor.digest, plain[0].descriptor.digest);
  EXPECT_EQ(kept[1].diff_id, fresh[1].diff_id);
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), top, {}))[1].descriptor.digest,
            plain[1].descriptor.digest);
}

}  // namespace
}  // namespace kiln::store
