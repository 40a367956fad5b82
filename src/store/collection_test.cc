#include "store/collection.h"

#include <algorithm>
#include <thread>

#include "store/record_rows.h"
#include "store/schema.h"
#include "store/testing/store_fixture.h"

namespace kiln::store {
namespace {

TEST_F(StoreTest, HeldRecordsAndTheirParentsStay) {
  SnapshotRef base = CommitFiles(*store_, {}, Files{{"/a", "1"}});
  SnapshotRef top = CommitFiles(*store_, base, Files{{"/b", "1"}});
  SnapshotRef other = CommitFiles(*store_, base, Files{{"/c", "1"}});
  const std::string other_id = other.id();
  std::vector<std::string> told;
  store_->OnCollected(
      [&](std::span<const std::string> ids) { told.insert(told.end(), ids.begin(), ids.end()); });
  other = base = SnapshotRef();
  EXPECT_EQ(PruneAll(), std::vector<std::string>{other_id});
  EXPECT_EQ(told, std::vector<std::string>{other_id});
  EXPECT_EQ(store_->Claim(other_id).error().code(), Code::kNotFound);
  top = SnapshotRef();
  EXPECT_EQ(PruneAll().size(), 2U);
  EXPECT_TRUE(Must(store_->DiskUsage({})).empty());
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "root/snapshots"));
}

TEST_F(StoreTest, UsageAddsUpAndFilters) {
  SnapshotRef ref = CommitFiles(*store_, {}, Files{{"/a", std::string(100'000, 'x')}});
  Must(store_->LayerBlobs(Activity(), ref, {}));
  NamedDir dir = Must(store_->OpenNamedDir(Activity(), Named("cache:a", Sharing::kShared)));
  const auto all = Must(store_->DiskUsage({""}));
  EXPECT_EQ(Must(store_->DiskUsage({}, std::chrono::nanoseconds(INT64_MIN))).size(), all.size());
  ASSERT_EQ(all.size(), 2U);
  EXPECT_GE(all[0].size_bytes, 100'000U);
  EXPECT_TRUE(all[0].in_use);
  EXPECT_TRUE(all[1].is_mutable);
  EXPECT_EQ(all[1].type, "exec.cachemount");
  EXPECT_EQ(all[1].size_bytes, 0U);
  EXPECT_EQ(Must(store_->DiskUsage({"type==exec.cachemount"})).size(), 1U);
  EXPECT_EQ(Must(store_->DiskUsage({"immutable"})).size(), 1U);
  EXPECT_EQ(Must(store_->DiskUsage({"id==" + all[0].id, "mutable"})).size(), 2U);
}

TEST_F(StoreTest, LimitsTakeTheLeastUsedFirst) {
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) {
    clock_.Advance(std::chrono::hours(1));
    const SnapshotRef ref = CommitFiles(*store_, {}, Files{{"/f", std::string(1 << 20, 'x')}});
    ids.push_back(ref.id());
  }
  clock_.Advance(std::chrono::hours(1));
  Must(store_->Claim(ids[0]));
  PruneRule rule;
  rule.max_used_bytes = 2'200'000;
  std::vector<std::string> gone;
  const std::vector<PruneRule> rules{rule};
  Must(store_->Prune(Activity(), rules,
                     [&](const UsageRecord& record) { gone.push_back(record.id); }));
  EXPECT_EQ(gone, (std::vector<std::string>{ids[1], ids[2]}));

  clock_.Advance(std::chrono::hours(47));
  Must(store_->Claim(ids[0]));
  clock_.Advance(std::chrono::hours(2));
  PruneRule young;
  young.keep_duration = std::chrono::hours(48);
  young.all = true;
  gone.clear();
  const std::vector<PruneRule> young_rules{young};
  Must(store_->Prune(Activity(), young_rules,
                     [&](const UsageRecord& record) { gone.push_back(record.id); }));
  EXPECT_EQ(gone, std::vector<std::string>{ids[3]});
}

TEST_F(StoreTest, InternalRecordsNeedAll) {
  ActiveSnapshot active = Must(store_->Prepare(Activity(), {}));
  CommitOptions options;
  options.type = kTypeInternal;
  Must(store_->Commit(std::move(active), options));
  const std::vector<PruneRule> rules{PruneRule{}};
  Must(store_->Prune(Activity(), rules, nullptr));
  EXPECT_EQ(Must(store_->DiskUsage({})).size(), 1U);
  EXPECT_EQ(PruneAll().size(), 1U);
}

// Claims against collection: whoever gets a handle can read it.
TEST_F(StoreTest, ClaimsAndCollectionRace) {
  for (int round = 0; round < 30; ++round) {
    const std::string id = CommitFiles(*store_, {}, Files{{"/f", "x"}}).id();
    std::thread pruner([&] { PruneAll(); });
    auto claimed = store_->Claim(id);
    pruner.join();
    if (claimed.ok()) {
      EXPECT_EQ(Must(Must(store_->Tree(*claimed)).ReadFile("/f")), "x");
    } else {
      EXPECT_EQ(claimed.error().code(), Code::kNotFound);
    }
  }
}

// A file that a layer shares with the context it was copied from is on the disk once, and stays
// when the context has it no more.
TEST_F(StoreTest, SharedFilesCountOnceAndForAsLongAsTheyAreThere) {
  constexpr uint64_t kLarge = 4 << 20;
  const NamedDirOptions options = Named("local:x", Sharing::kPrivate);
  const auto total = [&] {
    uint64_t bytes = 0;
    for (const UsageRecord& record : Must(store_->DiskUsage({}))) bytes += record.size_bytes;
    return bytes;
  };
  NamedDir dir = Must(store_->OpenNamedDir(Activity(), options));
  const std::string path = dir.path();
  MakeFile(path + "/f", std::string(kLarge, 'x'));
  SnapshotRef frozen = Must(store_->Freeze(std::move(dir), true));
  SnapshotRef one = Must(store_->Solid(Activity(), frozen));
  frozen = SnapshotRef();
  EXPECT_GE(total(), kLarge);
  EXPECT_LT(total(), kLarge * 3 / 2);
  // The next build's context has another file of that name; what was counted before is kept.
  dir = Must(store_->OpenNamedDir(Activity(), options));
  ASSERT_EQ(dir.path(), path);
  unlink((path + "/f").c_str());
  MakeFile(path + "/f", std::string(kLarge, 'y'));
  frozen = Must(store_->Freeze(std::move(dir), true));
  const SnapshotRef two = Must(store_->Solid(Activity(), frozen));
  frozen = SnapshotRef();
  EXPECT_GE(total(), 2 * kLarge);
  EXPECT_LT(total(), kLarge * 5 / 2);
  // And a limit takes what it must, not more.
  const std::string first = one.id();
  one = SnapshotRef();
  PruneRule rule;
  rule.max_used_bytes = kLarge * 3 / 2;
  std::vector<std::string> gone;
  Must(store_->Prune(Activity(), std::span(&rule, 1),
                     [&](const UsageRecord& record) { gone.push_back(record.id); }));
  EXPECT_EQ(std::count(gone.begin(), gone.end(), first), 1);
  EXPECT_GE(total(), kLarge);
  EXPECT_LT(total(), kLarge * 3 / 2);
}

// When no layer has them any more, they are the context's.
TEST_F(StoreTest, SharedFilesCountForTheContextInTheEnd) {
  constexpr uint64_t kLarge = 1 << 20;
  NamedDir dir = Must(store_->OpenNamedDir(Activity(), Named("local:x", Sharing::kPrivate)));
  MakeFile(dir.path() + "/f", std::string(kLarge, 'x'));
  SnapshotRef frozen = Must(store_->Freeze(std::move(dir), true));
  SnapshotRef layer = Must(store_->Solid(Activity(), frozen));
  frozen = SnapshotRef();
  auto before = Must(store_->DiskUsage({"mutable"}));
  ASSERT_EQ(before.size(), 1U);
  EXPECT_LT(before[0].size_bytes, kLarge / 2);
  PruneRule rule = Everything();
  rule.filters = {"immutable"};
  layer = SnapshotRef();
  Must(store_->Prune(Activity(), std::span(&rule, 1), nullptr));
  const auto after = Must(store_->DiskUsage({}));
  ASSERT_EQ(after.size(), 1U);
  EXPECT_GE(after[0].size_bytes, kLarge);
}

TEST_F(StoreTest, ManyRecordsGoInFewTransactions) {
  SnapshotRef base = CommitFiles(*store_, {}, Files{{"/a", "1"}});
  SnapshotRef top = base;
  for (int i = 0; i < 250; ++i) top = CommitFiles(*store_, top, Files{});
  std::vector<size_t> told;
  store_->OnCollected([&](std::span<const std::string> ids) { told.push_back(ids.size()); });
  top = SnapshotRef();
  EXPECT_EQ(PruneAll().size(), 250U);  // children before what they stand on
  EXPECT_EQ(told, (std::vector<size_t>{250}));
  EXPECT_EQ(Must(store_->DiskUsage({})).size(), 1U);
}

// A disk that is to have room again is asked after every few records how much it has.
TEST_F(StoreTest, RecordsGoInSmallStepsWhereRoomIsWanted) {
  SnapshotRef top;
  for (int i = 0; i < 250; ++i) top = CommitFiles(*store_, top, Files{});
  std::vector<size_t> told;
  store_->OnCollected([&](std::span<const std::string> ids) { told.push_back(ids.size()); });
  top = SnapshotRef();
  PruneRule rule = Everything();
  rule.min_free_bytes = uint64_t{1} << 60;  // more than any disk has
  Must(store_->Prune(Activity(), std::span(&rule, 1), nullptr));
  EXPECT_EQ(told, (std::vector<size_t>{100, 100, 50}));
}

// With no room left even for a name in trash/, or none to be had there.
TEST_F(StoreTest, WhatCannotBeMovedIsRemovedWhereItIs) {
  CommitFiles(*store_, {}, Files{{"/a", "1"}});
  std::filesystem::remove(temp_ / "root/trash");
  MakeFile(temp_ / "root/trash", "in the way");
  EXPECT_EQ(PruneAll().size(), 1U);
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "root/snapshots"));
}

TEST(RecordRowsTest, RowsGoWithAllThatBelongsToThem) {
  const sys::TempDir temp;
  const auto db = Must(SqliteConnection::Open(temp / "db"));
  Must(db->Migrate(kStoreMigrations));
  RecordRow row;
  for (row.num = 1; row.num <= 4; ++row.num) {
    row.id = std::to_string(row.num);
    row.parent = row.num == 2 ? 1 : 0;
    Must(InsertRecord(*db, row, std::nullopt, "", row.num));
  }
  Must(db->Exec(
      "INSERT INTO record_inputs VALUES(3,0,1); INSERT INTO record_inputs VALUES(3,1,2); "
      "INSERT INTO labels VALUES(3,'a','b'); INSERT INTO labels VALUES(1,'a','b'); "
      "INSERT INTO layer_blobs VALUES(2,x'01',0,0,''); INSERT INTO layer_blobs VALUES(3,x'01',0,0,"
      "''); INSERT INTO layer_blobs VALUES(3,x'02',0,0,''); "
      "INSERT INTO locators VALUES(x'01','k','v',0); INSERT INTO locators "
      "VALUES(x'02','k','v',0)"));
  const NumsByNum above = Must(ReadStandingOn(*db, std::vector<int64_t>{4, 2, 1}));
  EXPECT_EQ(above, (NumsByNum{{1, {2, 3}}, {2, {3}}}));
  Must(DeleteRecords(*db, {4, 3}));
  const auto count = [&](const std::string& table) {
    SqliteStatement query = Must(db->Prepare("SELECT count(*) FROM " + table));
    Must(query.Step());
    return query.Int(0);
  };
  EXPECT_EQ(count("records"), 2);
  EXPECT_EQ(count("record_inputs"), 0);
  EXPECT_EQ(count("labels"), 1);
  EXPECT_EQ(count("layer_blobs"), 1);
  EXPECT_EQ(count("locators"), 1);  // of the blob that record 2 has
  EXPECT_EQ(count("meta WHERE key='num' AND value='4'"), 1);
}

}  // namespace
}  // namespace kiln::store
