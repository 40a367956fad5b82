#include "history/history.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "base/ids.h"
#include "history/filter.h"

namespace kiln::history {
namespace {

using moby::buildkit::v1::StatusResponse;

class HistoryTest : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::unique_ptr<History> Open(const Retention& retention = {}) {
    auto history = History::Open(dir_, clock_, retention);
    EXPECT_TRUE(history.ok());
    return *std::move(history);
  }

  void PutNow(google::protobuf::Timestamp* out) {
    const int64_t now = UnixNanos(clock_.Now());
    out->set_seconds(now / 1'000'000'000);
    out->set_nanos(static_cast<int32_t>(now % 1'000'000'000));
  }

  Record Started(const std::string& ref) {
    Record record;
    record.set_ref(ref);
    PutNow(record.mutable_createdat());
    return record;
  }

  // A build that takes a second and says its own name.
  void Build(History& history, const std::string& ref, const std::string& error = "") {
    Record record = Started(ref);
    auto log = history.Begin(record);
    ASSERT_TRUE(log.ok()) << log.error().ToString();
    StatusResponse batch;
    batch.add_logs()->set_msg(ref);
    ASSERT_TRUE(log->Append(batch).ok());
    clock_.Advance(std::chrono::seconds(1));
    PutNow(record.mutable_completedat());
    record.mutable_logs()->set_size(log->size());
    record.mutable_logs()->set_digest(log->digest().ToString());
    if (!error.empty()) record.mutable_error()->set_message(error);
    ASSERT_TRUE(history.Complete(record, error).ok());
  }

  std::vector<std::string> Refs(History& history) {
    std::vector<std::string> refs;
    for (const Record& record : history.Completed()) refs.push_back(record.ref());
    return refs;
  }

  const std::string dir_ = testing::TempDir() + "/history-" + NewId();
  FakeClock clock_;
};

using Names = std::vector<std::string>;

TEST_F(HistoryTest, RemembersBuildsAcrossRestarts) {
  {
    auto history = Open();
    Build(*history, "one");
    Build(*history, "../two", "it broke");
    EXPECT_EQ(Refs(*history), (Names{"../two", "one"}));
  }
  auto history = Open();
  EXPECT_EQ(Refs(*history), (Names{"../two", "one"}));
  auto log = history->OpenLog("../two");
  ASSERT_TRUE(log.ok());
  StatusResponse batch;
  EXPECT_TRUE(*log->Next(&batch));
  EXPECT_EQ(batch.logs(0).msg(), "../two");
  EXPECT_FALSE(*log->Next(&batch));
  const Record record = *history->Find("../two");
  const auto blob = history->FindBlob(record.externalerror().digest());
  ASSERT_TRUE(blob);
  EXPECT_EQ(*ReadFile(blob->path), "it broke");
  EXPECT_TRUE(history->FindBlob(record.logs().digest()));
  EXPECT_FALSE(history->FindBlob(Sha256Of("other").ToString()));
}

TEST_F(HistoryTest, EndsWhatWasInterrupted) {
  {
    auto history = Open();
    auto log = history->Begin(Started("cut"));
    StatusResponse batch;
    batch.add_logs()->set_msg("first");
    ASSERT_TRUE(log->Append(batch).ok());
    EXPECT_EQ(history->Active().size(), 1U);
    EXPECT_TRUE(Refs(*history).empty());
  }
  // Half a frame, as a kill leaves it.
  for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
    if (entry.path().extension() != ".log") continue;
    auto fd = OpenFile(entry.path(), O_WRONLY | O_APPEND);
    ASSERT_TRUE(WriteAll(fd->get(), std::string_view("\x09\0\0\0abc", 7)).ok());
  }
  auto history = Open();
  ASSERT_EQ(Refs(*history), Names{"cut"});
  EXPECT_EQ(StatusOf(*history->Find("cut")), "error");
  auto log = history->OpenLog("cut");
  StatusResponse batch;
  EXPECT_TRUE(*log->Next(&batch));
  EXPECT_FALSE(*log->Next(&batch));
}

TEST_F(HistoryTest, KeepsTheNewestAndTheYoung) {
  auto history = Open({.entries = 2, .age = std::chrono::milliseconds(2500)});
  for (const char* ref : {"a", "b", "c", "d"}) Build(*history, ref);
  history->Collect();
  EXPECT_EQ(Refs(*history), (Names{"d", "c", "b"}));
  ASSERT_TRUE(history->SetPinned("b", true).ok());
  clock_.Advance(std::chrono::hours(1));
  Build(*history, "e");
  history->Collect();
  EXPECT_EQ(Refs(*history), (Names{"e", "d", "b"}));
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir_)) files += entry.exists();
  EXPECT_EQ(files, 6U);
}

TEST_F(HistoryTest, IsBoundedHoweverYoung) {
  auto history = Open({.max_entries = 2});
  for (const char* ref : {"a", "b", "c"}) Build(*history, ref);
  history->Collect();
  EXPECT_EQ(Refs(*history), (Names{"c", "b"}));
  auto small = Open({.max_bytes = 1});
  small->Collect();
  EXPECT_EQ(Refs(*small), Names{"c"});
}

TEST_F(HistoryTest, TellsListenersInOrder) {
  auto history = Open();
  std::vector<std::string> seen;
  auto token = history->Listen([&](const Event& event) {
    seen.push_back(fmt::format("{} {}", static_cast<int>(event.type()), event.record().ref()));
  });
  Build(*history, "a");
  ASSERT_TRUE(history->Delete("a").ok());
  ASSERT_TRUE(history->Delete("a").ok());
  EXPECT_FALSE(history->SetPinned("a", true).ok());
  token.reset();
  Build(*history, "b");
  EXPECT_EQ(seen, (Names{"0 a", "1 a", "2 a"}));
}

TEST_F(HistoryTest, Filters) {
  auto history = Open();
  Build(*history, "good");
  clock_.Advance(std::chrono::hours(1));
  Build(*history, "bad", "exit code: 1");
  Build(*history, "left", "context canceled");
  const std::pair<Names, Names> kCases[] = {
      {{}, {"left", "bad", "good"}},
      {{"status==error"}, {"bad"}},
      {{"status==completed", "status==canceled"}, {"left", "good"}},
      {{"startedAt>30m"}, {"left", "bad"}},
      {{"startedAt<30m,ref==good"}, {"good"}},
      {{"startedAt<30m,ref==bad"}, {}},
      {{"duration>=1s,ref~=^(b|l)"}, {"left", "bad"}},
      {{"duration>2s"}, {}},
      {{"completedAt<2020-01-01T00:00:00Z"}, {}},
  };
  for (const auto& [expressions, want] : kCases) {
    auto found = Matching(history->Completed(), expressions, clock_.Now());
    ASSERT_TRUE(found.ok()) << found.error().ToString();
    Names refs;
    for (const Record& record : *found) refs.push_back(record.ref());
    EXPECT_EQ(refs, want) << testing::PrintToString(expressions);
  }
  for (const char* bad : {"duration>x", "startedAt~y", "completedAt<yesterday"})
    EXPECT_FALSE(Matching({}, {bad}, clock_.Now()).ok()) << bad;
}

}  // namespace
}  // namespace kiln::history
