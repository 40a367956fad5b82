#include "cachedb/cachedb.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <future>

#include "base/fd.h"
#include "base/ids.h"
#include "base/log.h"
#include "cachedb/latest.h"
#include "cachedb/snapshot_result.h"
#include "solver/lost.h"
#include "store/store.h"

namespace kiln::cachedb {
namespace {

template <typename T>
class Waiter {
 public:
  solver::Callback<T> callback() {
    return [this](Result<T> result) { promise_.set_value(std::move(result)); };
  }
  Result<T> Get() { return promise_.get_future().get(); }

 private:
  std::promise<Result<T>> promise_;
};

class CacheDbTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/cachedb-" + NewId();
    ASSERT_EQ(::mkdir(root_.c_str(), 0755), 0);
    OpenAll();
  }
  void TearDown() override {
    cache_.reset();
    store_.reset();
    std::filesystem::remove_all(root_);
  }
  void OpenAll() {
    cache_.reset();
    store_.reset();
    auto store = store::Store::Open({.root = root_ + "/store"});
    ASSERT_TRUE(store.ok()) << store.error().ToString();
    store_ = std::move(*store);
    auto cache = CacheDb::Open(root_ + "/cache.db", *store_);
    ASSERT_TRUE(cache.ok()) << cache.error().ToString();
    cache_ = std::move(*cache);
  }

  store::SnapshotRef NewSnapshot(const std::string& content) {
    auto active = store_->Prepare({}, {});
    EXPECT_TRUE(active.ok());
    EXPECT_TRUE(WriteFileAtomically(active->upper_dir() + "/file", content).ok());
    auto ref = store_->Commit(std::move(*active), {});
    EXPECT_TRUE(ref.ok());
    return *ref;
  }
  solver::StoredResultPtr ResultOf(const store::SnapshotRef& ref) {
    return *SnapshotResult::Make(*store_, ref);
  }

  std::vector<solver::RecordId> Save(solver::SaveBatch batch) {
    Waiter<std::vector<solver::RecordId>> waiter;
    cache_->Save(std::move(batch), waiter.callback());
    auto ids = waiter.Get();
    EXPECT_TRUE(ids.ok()) << ids.error().ToString();
    return ids.ok() ? *ids : std::vector<solver::RecordId>();
  }
  std::vector<solver::LinkChild> Children(const solver::LinkTuple& tuple) {
    Waiter<std::vector<std::vector<solver::LinkChild>>> waiter;
    cache_->Lookup({tuple}, {}, waiter.callback());
    return waiter.Get()->at(0);
  }
  solver::KeyInfo Key(const solver::KeyId& id) {
    Waiter<std::vector<solver::KeyInfo>> waiter;
    cache_->Records({id}, {}, waiter.callback());
    return waiter.Get()->at(0);
  }
  solver::Claimed Claim(const solver::RecordInfo& record) {
    Waiter<solver::Claimed> waiter;
    cache_->Claim(record, {}, waiter.callback());
    return *waiter.Get();
  }
  void Assert(std::vector<solver::Link> links) {
    std::promise<void> done;
    cache_->Assert(std::move(links), [&](Status status) {
      EXPECT_TRUE(status.ok());
      done.set_value();
    });
    done.get_future().wait();
  }
  void Drop(const solver::RecordId& id) {
    std::promise<void> done;
    cache_->Drop(id, [&](Status status) {
      EXPECT_TRUE(status.ok());
      done.set_value();
    });
    done.get_future().wait();
  }

  static solver::NewRecord Record(solver::KeyId key, solver::StoredResultPtr result,
                                  int64_t second = 1) {
    solver::NewRecord record;
    record.key = std::move(key);
    record.result = std::move(result);
    record.created = WallTime(std::chrono::seconds(second));
    record.origin = {"[1/2] RUN x", "build", std::chrono::milliseconds(5)};
    record.capture = std::string("c\0d", 3);
    return record;
  }

  std::string root_;
  std::unique_ptr<store::Store> store_;
  std::shared_ptr<CacheDb> cache_;
};

const solver::LinkTuple kTuple{"sha256:parent", 0, "sha256:d", 0, "/src"};

TEST_F(CacheDbTest, RemembersLinksAndRecordsAcrossReopening) {
  std::string id = NewSnapshot("one").id();
  {
    auto snapshot = store_->Claim(id);
    ASSERT_TRUE(snapshot.ok());
    Save({{"sha256:parent", "k:x"}, {{kTuple, "k:x"}}, {Record("k:x", ResultOf(*snapshot))}, {}});
  }
  OpenAll();
  auto children = Children(kTuple);
  ASSERT_EQ(children.size(), 1U);
  EXPECT_EQ(children[0].child, "k:x");
  auto other = kTuple;
  other.selector = "";
  EXPECT_TRUE(Children(other).empty());
  auto info = Key("k:x");
  ASSERT_EQ(info.records.size(), 1U);
  EXPECT_EQ(info.records[0].origin.vertex_name, "[1/2] RUN x");
  auto claimed = Claim(info.records[0]);
  EXPECT_FALSE(claimed.gone);
  EXPECT_EQ(claimed.capture, std::string("c\0d", 3));
  EXPECT_EQ(RefOf(claimed.result).id(), id);
  EXPECT_FALSE(claimed.result->lazy());
  EXPECT_TRUE(claimed.result->Holds(id));
  EXPECT_FALSE(Key("k:unknown").known);
}

TEST_F(CacheDbTest, KeepsScratchResults) {
  Save({{}, {{kTuple, "k:x"}}, {Record("k:x", nullptr)}, {}});
  auto claimed = Claim(Key("k:x").records.at(0));
  EXPECT_FALSE(claimed.gone);
  EXPECT_EQ(claimed.result, nullptr);
}

TEST_F(CacheDbTest, LaterAssertionsCountMore) {
  Save({{}, {{kTuple, "k:old"}}, {Record("k:old", nullptr)}, {}});
  Save({{}, {{kTuple, "k:new"}}, {Record("k:new", nullptr)}, {}});
  EXPECT_EQ(Children(kTuple).at(0).child, "k:new");
  Assert({{kTuple, "k:old"}, {kTuple, "k:nobody"}});
  auto children = Children(kTuple);
  ASSERT_EQ(children.size(), 2U);
  EXPECT_EQ(children[0].child, "k:old");
  EXPECT_GT(children[0].seq, children[1].seq);
}

TEST_F(CacheDbTest, AnAssertionThatChangesNothingIsNotWritten) {
  Save({{}, {{kTuple, "k:x"}}, {Record("k:x", nullptr)}, {}});
  const uint64_t seq = Children(kTuple).at(0).seq;
  Assert({{kTuple, "k:x"}});
  EXPECT_EQ(Children(kTuple).at(0).seq, seq);
  // By a link that is new, as another definition of an input gives one, it counts again.
  solver::LinkTuple other = kTuple;
  other.selector = "/other";
  Assert({{kTuple, "k:x"}, {other, "k:x"}});
  EXPECT_GT(Children(kTuple).at(0).seq, seq);
}

TEST_F(CacheDbTest, AnAssertionCountsAgainAfterAnotherChilds) {
  solver::LinkTuple other = kTuple;
  other.parent = "sha256:other";
  Save({{}, {{kTuple, "k:x"}}, {Record("k:x", nullptr)}, {}});
  Save({{}, {{other, "k:y"}}, {Record("k:y", nullptr)}, {}});  // the same op
  const uint64_t seq = Children(kTuple).at(0).seq;
  Assert({{kTuple, "k:x"}});
  EXPECT_GT(Children(kTuple).at(0).seq, seq);
}

TEST_F(CacheDbTest, TextsGoWithTheLastRecordThatNamesThem) {
  solver::MissReport miss;
  miss.identity = {"exec", "RUN make", "linux/amd64", "Dockerfile:3"};
  miss.parts = {{"command", "make"}};
  Save({{}, {{kTuple, "k:x"}}, {Record("k:x", ResultOf(NewSnapshot("one")))}, miss});
  EXPECT_GT(cache_->Count()->texts, 0);
  store::PruneRule everything;
  everything.all = true;
  ASSERT_TRUE(store_->Prune({}, std::span(&everything, 1), [](const store::UsageRecord&) {}).ok());
  EXPECT_EQ(cache_->Count()->records, 0);
  EXPECT_EQ(cache_->Count()->texts, 0);
}

TEST_F(CacheDbTest, ARecordTakesWhatOnlyLedToItAlong) {
  solver::LinkTuple upper{"k:x", 0, "sha256:e", 0, ""};
  auto first = Save({{},
                     {{kTuple, "k:x"}, {upper, "k:y"}},
                     {Record("k:x", nullptr), Record("k:y", nullptr)},
                     {}});
  ASSERT_EQ(first.size(), 2U);
  Drop(first[0]);  // still leads to k:y
  EXPECT_EQ(Children(kTuple).size(), 1U);
  Drop(first[1]);
  EXPECT_TRUE(Children(kTuple).empty());
  auto counts = *cache_->Count();
  EXPECT_EQ(counts.keys, 0);
  EXPECT_EQ(counts.links, 0);
  EXPECT_EQ(counts.records, 0);
  Drop("12345");
  Drop("not a number");
}

// Three links above each other, by way of keys without records; one key is shared with what stays.
TEST_F(CacheDbTest, SeveralRecordsTakeWhatOnlyLedToThemAlong) {
  const solver::LinkTuple second{"k:x", 0, "sha256:e", 0, ""};
  const solver::LinkTuple third{"k:y", 0, "sha256:f", 0, ""};
  const solver::LinkTuple other{"k:x", 1, "sha256:g", 0, ""};
  Save({{},
        {{kTuple, "k:x"}, {second, "k:y"}, {third, "k:z"}},
        {Record("k:z", ResultOf(NewSnapshot("1"))), Record("k:z", ResultOf(NewSnapshot("2")))},
        {}});
  Save({{}, {{other, "k:o"}}, {Record("k:o", nullptr)}, {}});
  store::PruneRule everything;
  everything.all = true;
  ASSERT_TRUE(store_->Prune({}, std::span(&everything, 1), [](const store::UsageRecord&) {}).ok());
  const auto counts = *cache_->Count();
  EXPECT_EQ(counts.records, 1);
  EXPECT_EQ(counts.links, 2);  // to k:x, and from it to k:o
  EXPECT_EQ(counts.keys, 3);
  EXPECT_FALSE(Key("k:y").known);
}

TEST(LatestChildrenTest, KeepsManyAndForgetsAllAtOnce) {
  LatestChildren latest;
  EXPECT_FALSE(latest.Find("sha256:0", 0, "k:0"));
  constexpr int kMany = 32768;
  const auto digest = [](int i) { return "sha256:" + std::to_string(i); };
  for (int i = 0; i < kMany; ++i) latest.Note(digest(i), i % 3, "k:" + std::to_string(i), i);
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(latest.Find(digest(i), i % 3, "k:" + std::to_string(i)), std::optional<int64_t>(i));
    ASSERT_FALSE(latest.Find(digest(i), 3, "k:" + std::to_string(i)));
  }
  latest.Note(digest(5), 2, "k:new", 7);
  EXPECT_FALSE(latest.Find(digest(5), 2, "k:5"));
  EXPECT_EQ(latest.Find(digest(5), 2, "k:new"), std::optional<int64_t>(7));
  EXPECT_TRUE(latest.Find(digest(6), 0, "k:6"));
  latest.Note("sha256:one too many", 0, "k:x", 8);
  EXPECT_FALSE(latest.Find(digest(6), 0, "k:6"));
  EXPECT_EQ(latest.Find("sha256:one too many", 0, "k:x"), std::optional<int64_t>(8));
}

TEST_F(CacheDbTest, CollectedSnapshotsTakeTheirRecordsAlong) {
  Save({{}, {{kTuple, "k:x"}}, {Record("k:x", ResultOf(NewSnapshot("gone soon")))}, {}});
  auto record = Key("k:x").records.at(0);
  store::PruneRule everything;
  everything.all = true;
  ASSERT_TRUE(store_->Prune({}, std::span(&everything, 1), [](const store::UsageRecord&) {}).ok());
  EXPECT_TRUE(Claim(record).gone);
  EXPECT_FALSE(Key("k:x").known);
}

TEST_F(CacheDbTest, RandomKeysStayOffTheDisk) {
  solver::LinkTuple random{"sha256:p", 0, "random:1234", 0, ""};
  Save({{}, {{random, "k:x"}}, {Record("k:x", nullptr)}, {}});
  EXPECT_TRUE(Children(random).empty());
}

TEST_F(CacheDbTest, SaysWhatDiffersFromTheNearestRun) {
  solver::MissReport miss;
  miss.identity = {"exec", "RUN make", "linux/amd64", "Dockerfile:3"};
  miss.parts = {{"command", "make"}, {"content of context:/src", "sha256:1"}};
  Save({{}, {}, {Record("k:1", nullptr, 1)}, miss});
  miss.parts[1].value = "sha256:2";
  auto record = Record("k:2", nullptr, 2);
  record.origin.build_ref = "second";
  Save({{}, {}, {record}, miss});
  auto misses = cache_->MissesOf("second");
  ASSERT_TRUE(misses.ok());
  ASSERT_EQ(misses->size(), 1U);
  const Miss& found = misses->at(0);
  EXPECT_EQ(found.identity, miss.identity);
  EXPECT_EQ(found.label, "content of context:/src");
  EXPECT_EQ(found.was, "sha256:1");
  EXPECT_EQ(found.is, "sha256:2");
  EXPECT_EQ(found.nearest, WallTime(std::chrono::seconds(1)));
}

TEST_F(CacheDbTest, ParentsLeadBack) {
  Save({{}, {{kTuple, "k:x"}}, {Record("k:x", nullptr)}, {}});
  Waiter<std::vector<std::vector<solver::ParentLink>>> waiter;
  cache_->Parents({"k:x", "sha256:parent"}, waiter.callback());
  auto parents = *waiter.Get();
  ASSERT_EQ(parents.at(0).size(), 1U);
  EXPECT_EQ(parents[0][0].tuple, kTuple);
  EXPECT_TRUE(parents[1].empty());
}

TEST_F(CacheDbTest, ADamagedFileIsMovedAside) {
  cache_.reset();
  // What SQLite keeps beside the file could repair it.
  for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(root_ + "/cache.db" + suffix);
  ASSERT_TRUE(WriteFileAtomically(root_ + "/cache.db", std::string(8192, 'x')).ok());
  SetLogLevel(LogLevel::kError);  // whatever of it is said
  OpenAll();
  SetLogLevel(LogLevel::kInfo);
  EXPECT_EQ(cache_->Count()->keys, 0);
  EXPECT_TRUE(std::filesystem::exists(root_ + "/cache.db.damaged-1"));
}

TEST(SnapshotResultTest, TurnsTheStoresLossIntoTheSolvers) {
  Error lost = ToSolverError(store::LostError("17", "blob gone"));
  ASSERT_TRUE(solver::IsLost(lost));
  EXPECT_EQ(solver::LostBlobs(lost), std::vector<std::string>{"17"});
  EXPECT_FALSE(solver::IsLost(ToSolverError(NotFound("x"))));
}

}  // namespace
}  // namespace kiln::cachedb
