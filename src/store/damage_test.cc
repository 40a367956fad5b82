// What is said of rows that a bad disk, or another program, has changed.
#include <gtest/gtest.h>

#include "store/fsck.h"
#include "store/sqlite.h"
#include "store/store.h"
#include "store/testing/files.h"
#include "sys/testing/test_spawner.h"

namespace kiln::store {
namespace {

class DamageTest : public testing::Test {
 protected:
  std::unique_ptr<Store> Open() const { return Must(Store::Open({.root = root_})); }
  void Change(const char* sql) const {
    Must(Must(SqliteConnection::Open(root_ + "/store.db"))->Exec(sql));
  }

  const sys::TempDir temp_;
  const std::string root_ = temp_ / "root";
};

TEST_F(DamageTest, NoRowLeadsInCirclesOrNowhere) {
  const std::string id = CommitFiles(*Open(), {}, {{"/x", "a"}}).id();
  for (const char* sql : {"UPDATE records SET parent=num", "UPDATE records SET parent=NULL, kind=2",
                          "UPDATE records SET kind=7"}) {
    Change(sql);
    EXPECT_EQ(Open()->Claim(id).error().code(), Code::kDataLoss) << sql;
  }
}

TEST_F(DamageTest, FsckDropsRowsWithoutADigest) {
  Open();
  Change("INSERT INTO blobs VALUES(zeroblob(32),3,1,1),('x',3,1,1)");
  const FsckReport report = Must(Fsck({.root = root_, .repair = true}));
  EXPECT_EQ(report.findings, std::vector<std::string>{"blobs: 2 rows without a digest"});
  EXPECT_EQ(Must(Fsck({.root = root_})).findings, std::vector<std::string>());
}

TEST_F(DamageTest, AStoreWithoutNumbersLeftDoesNotOpen) {
  Open();
  Change("INSERT INTO blobs VALUES(zeroblob(32),3,1,9223372036854775807)");
  EXPECT_EQ(Store::Open({.root = root_}).error().code(), Code::kDataLoss);
}

}  // namespace
}  // namespace kiln::store
