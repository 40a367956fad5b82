#include "store/sqlite.h"

#include <gtest/gtest.h>

#include <future>

#include "store/testing/files.h"
#include "sys/testing/test_spawner.h"

namespace kiln::store {
namespace {

constexpr std::array<std::string_view, 1> kSchema = {"CREATE TABLE t(name TEXT, data BLOB)"};

int64_t Count(Database& database, const std::string& name) {
  int64_t count = -1;
  Must(database.Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query, db.Prepare("SELECT count(*) FROM t WHERE name=?"));
    TRY(query.Bind(name).Step());
    count = query.Int(0);
    return OkStatus();
  }));
  return count;
}

// A full file makes SQLite roll the whole transaction back, in the middle of a batch: what is told
// must be what is there.
TEST(SqliteTest, WhatIsReportedIsWhatIsThere) {
  const sys::TempDir temp;
  const auto database = Must(Database::Open(temp / "db", kSchema));
  const auto insert = [](const std::string& name, int64_t bytes) {
    return [name, bytes](SqliteConnection& db) -> Status {
      TRY_ASSIGN(SqliteStatement statement,
                 db.Prepare("INSERT INTO t(name,data) VALUES(?,zeroblob(?))"));
      return statement.Bind(name).Bind(bytes).Run();
    };
  };
  // The first keeps the writer until the others are queued, so that they are one batch.
  std::promise<void> queued;
  std::promise<void> entered;
  auto first = std::async(std::launch::async, [&] {
    return database->Write([&](SqliteConnection& db) -> Status {
      entered.set_value();
      queued.get_future().wait();
      return db.Exec("PRAGMA max_page_count=20");
    });
  });
  entered.get_future().wait();
  std::vector<std::future<Status>> writes;
  const auto queue = [&](const std::string& name, int64_t bytes) {
    writes.push_back(std::async(std::launch::async, [&database, work = insert(name, bytes)] {
      return database->Write(work);
    }));
    // In this order.
    while (database->queued() < writes.size()) std::this_thread::yield();
  };
  queue("before", 10);
  queue("large", 1 << 20);
  queue("after", 10);
  queued.set_value();
  Must(first.get());
  const bool before = writes[0].get().ok();
  const Status large = writes[1].get();
  const bool after = writes[2].get().ok();
  ASSERT_FALSE(large.ok());
  EXPECT_EQ(large.error().code(), Code::kResourceExhausted);
  EXPECT_EQ(Count(*database, "before"), before ? 1 : 0);
  EXPECT_EQ(Count(*database, "large"), 0);
  EXPECT_EQ(Count(*database, "after"), after ? 1 : 0);
  EXPECT_TRUE(after);
  EXPECT_TRUE(database->troubled());
}

TEST(SqliteTest, LongReadsHoldUpNoShortOnes) {
  const sys::TempDir temp;
  const auto database = Must(Database::Open(temp / "db", kSchema));
  Must(database->Scan([&](SqliteConnection&) -> Status {
    EXPECT_EQ(Count(*database, "x"), 0);
    return OkStatus();
  }));
}

}  // namespace
}  // namespace kiln::store
