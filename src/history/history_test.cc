#include "history/history.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "api/timestamp.h"
#include "base/fd.h"
#include "base/ids.h"
#include "base/thread.h"
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

  void PutNow(google::protobuf::Timestamp* out) { api::ToProto(clock_.Now(), out); }

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
  EXPECT_EQ(record.externalerror().media_type(),
            "application/vnd.googleapis.google.rpc.status+proto");
  EXPECT_EQ(record.logs().media_type(), "application/vnd.buildkit.status.v0");
  EXPECT_TRUE(history->FindBlob(record.logs().digest()));
  EXPECT_FALSE(history->FindBlob(Sha256Of("other").ToString()));
  EXPECT_EQ(history->ListBlobs().size(), 3U);
  ASSERT_TRUE(history->Delete("../two").ok());
  EXPECT_FALSE(history->FindBlob(record.externalerror().digest()));
  EXPECT_EQ(history->ListBlobs().size(), 1U);
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

// Errors of two builds are often the same text: one going leaves the other's.
TEST_F(HistoryTest, BlobsOfTheSameContentAreIndependent) {
  auto history = Open();
  Build(*history, "a", "it broke");
  Build(*history, "b", "it broke");
  const std::string digest = Sha256Of("it broke").ToString();
  ASSERT_TRUE(history->Delete("a").ok());
  const auto blob = history->FindBlob(digest);
  ASSERT_TRUE(blob);
  EXPECT_EQ(*ReadFile(blob->path), "it broke");
  ASSERT_TRUE(history->Delete("b").ok());
  EXPECT_FALSE(history->FindBlob(digest));
}

// A folder where a file is to be renamed to stands for a disk that takes nothing.
TEST_F(HistoryTest, ABuildWhoseEndCannotBeWrittenIsKnownAllTheSame) {
  auto history = Open();
  Record record = Started("full");
  auto log = history->Begin(record);
  ASSERT_TRUE(log.ok());
  std::string stem;
  for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
    if (entry.path().extension() == ".log") stem = dir_ + "/" + entry.path().stem().string();
  }
  ASSERT_TRUE(std::filesystem::create_directory(stem + ".error"));
  PutNow(record.mutable_completedat());
  record.mutable_error()->set_message("it broke");
  EXPECT_FALSE(history->Complete(record, "it broke").ok());
  ASSERT_TRUE(history->Find("full"));
  EXPECT_EQ(history->Find("full")->error().message(), "it broke");
  EXPECT_TRUE(history->Active().empty());
  // A start that finds no end does not make one up.
  const std::string copy = dir_ + "-copy";
  std::filesystem::copy(dir_, copy, std::filesystem::copy_options::recursive);
  for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
    std::filesystem::permissions(copy + "/" + entry.path().filename().string(),
                                 entry.status().permissions());
  }
  auto later = History::Open(copy, clock_, {});
  ASSERT_TRUE(later.ok());
  EXPECT_EQ((*later)->Find("full")->error().message(),
            "how this build ended could not be written to the disk");
  later->reset();
  std::filesystem::remove_all(copy);
  // Once there is room it is written after all.
  ASSERT_TRUE(std::filesystem::remove(stem + ".error"));
  history->Collect();
  history = Open();
  EXPECT_EQ(history->Find("full")->error().message(), "it broke");
  EXPECT_TRUE(history->FindBlob(Sha256Of("it broke").ToString()));
}

// Handlers look at what is known while another thread reads a log that takes its time (a pipe).
TEST_F(HistoryTest, LooksDoNotWaitForTheDisk) {
  {
    ASSERT_TRUE(Open()->Begin(Started("slow")).ok());
  }
  std::string pipe;
  for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
    if (entry.path().extension() == ".log") pipe = entry.path();
  }
  std::filesystem::remove(pipe);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  auto history = Open();
  std::vector<std::string> refs;
  std::thread reads = AwaitThread("reads", [&] { refs = Refs(*history); });
  // Opened for writing as soon as the other side reads.
  Fd writer = *OpenFile(pipe, O_WRONLY);
  EXPECT_TRUE(history->Has("slow"));
  EXPECT_FALSE(history->Has("other"));
  EXPECT_TRUE(history->Active().empty());
  history->Listen([](const Event&) {});
  writer.Reset();
  reads.join();
  EXPECT_EQ(refs, Names{"slow"});
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
