// What is left when the power goes: rows and data reach the disk in any order, unless they are
// synced.
#include <gtest/gtest.h>

#include <filesystem>

#include "store/sqlite.h"
#include "store/store.h"
#include "store/testing/files.h"
#include "sys/testing/test_spawner.h"

namespace kiln::store {
namespace {

using progress::Activity;
using Files = std::vector<std::pair<std::string, std::string>>;

class PowerLossTest : public testing::Test {
 protected:
  PowerLossTest() { Open(); }

  void Open() {
    StoreOptions options;
    options.root = temp_ / "root";
    options.sync_delay = std::chrono::hours(1);
    store_ = Must(Store::Open(options));
  }
  // As found after it: the store was open, the machine was started anew, `synced` is the watermark.
  void LosePower(const std::string& synced) {
    store_.reset();
    {
      auto db = Must(SqliteConnection::Open(temp_ / "root/store.db"));
      Must(
          db->Exec("UPDATE meta SET value='another boot' WHERE key='boot';"
                   "UPDATE meta SET value='1' WHERE key='open';"
                   "INSERT OR REPLACE INTO meta VALUES('synced'," +
                   synced + ")"));
    }
    Open();
  }
  NamedDir Named(const std::string& key, std::string_view type) {
    NamedDirOptions options;
    options.key = key;
    options.type = std::string(type);
    options.keep_if_dirty = type == kTypeCacheMount;
    return Must(store_->OpenNamedDir(Activity(), options));
  }

  sys::TempDir temp_;
  std::unique_ptr<Store> store_;
};

constexpr char kAll[] = "(SELECT max(seq) FROM records)";

TEST_F(PowerLossTest, ALayerIsNotLazyIfItsBlobIsLostAsWell) {
  std::string id;
  {
    const SnapshotRef layer = CommitFiles(*store_, {}, Files{{"/a", "1"}});
    id = layer.id();
    (void)Must(store_->LayerBlobs(Activity(), layer, {}));
  }
  LosePower("0");
  EXPECT_FALSE(store_->Claim(id).ok());
}

TEST_F(PowerLossTest, NamedDirectoriesAreDroppedForMarksMayBeMissing) {
  const std::string context = Named("context", kTypeLocalSource).id();
  const std::string cache = Named("cache", kTypeCacheMount).id();
  LosePower(kAll);
  EXPECT_NE(Named("context", kTypeLocalSource).id(), context);
  EXPECT_EQ(Named("cache", kTypeCacheMount).id(), cache);
}

TEST_F(PowerLossTest, WhatIsThereByNameOnlyGoes) {
  const std::string id = CommitFiles(*store_, {}, Files{{"/a", "1"}}).id();
  std::filesystem::path top;
  for (const auto& entry : std::filesystem::directory_iterator(temp_ / "root/snapshots"))
    top = entry.path();
  store_.reset();
  std::filesystem::create_directories(top / "flat-0123456789abcdef");
  std::filesystem::create_directories(top / "index.left");
  LosePower(kAll);
  EXPECT_TRUE(store_->recovered());
  EXPECT_FALSE(std::filesystem::exists(top / "flat-0123456789abcdef"));
  EXPECT_FALSE(std::filesystem::exists(top / "index.left"));
  EXPECT_TRUE(store_->Claim(id).ok());
}

TEST_F(PowerLossTest, NumbersAreNotGivenTwice) {
  (void)CommitFiles(*store_, {}, Files{{"/a", "1"}});
  PruneRule everything;
  everything.all = true;
  Must(store_->Prune(Activity(), std::vector<PruneRule>{everything}, nullptr));
  store_->WaitForDeletions();
  store_.reset();
  Open();
  EXPECT_FALSE(store_->recovered());
  (void)CommitFiles(*store_, {}, Files{{"/b", "1"}});
  for (const auto& entry : std::filesystem::directory_iterator(temp_ / "root/snapshots"))
    EXPECT_EQ(entry.path().filename(), "2");
}

TEST_F(PowerLossTest, ABlobWhoseFileWasDeletedCanBeWrittenAgain) {
  const BlobRef held = Must(store_->PutBlob("data"));
  std::filesystem::remove(temp_ / ("root/blobs/sha256/" + held.digest().hex()));
  EXPECT_EQ(store_->GetBlob(held.digest()).error().code(), Code::kNotFound);
  EXPECT_EQ(Must(Must(store_->PutBlob("data")).ReadAll()), "data");
  EXPECT_EQ(Must(held.ReadAll()), "data");
}

}  // namespace
}  // namespace kiln::store
