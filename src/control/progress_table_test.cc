#include "control/progress_table.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <moby/buildkit/v1/control.pb.h>

#include "control/job_table.h"

namespace kiln::control {
namespace {

using moby::buildkit::v1::StatusResponse;
using State = ProgressTable::Reader::State;

class ProgressTableTest : public testing::Test {
 protected:
  ProgressTableTest() : reader_(table_->NewReader([this] { ++woken_; })) {}

  progress::Vertex Vertex(const std::string& name, std::vector<std::string> inputs = {}) {
    progress::Vertex vertex;
    vertex.digest = Sha256Of(name);
    vertex.name = name;
    for (const std::string& input : inputs) vertex.inputs.push_back(Sha256Of(input));
    return vertex;
  }
  StatusResponse Read() {
    StatusResponse batch;
    EXPECT_EQ(reader_->Next(&batch), State::kBatch);
    return batch;
  }
  State ReadState() {
    StatusResponse batch;
    return reader_->Next(&batch);
  }
  WallTime Tick() {
    clock_.Advance(std::chrono::milliseconds(1));
    return clock_.Now();
  }

  FakeClock clock_;
  std::shared_ptr<ProgressTable> table_ = std::make_shared<ProgressTable>(clock_);
  int woken_ = 0;
  std::shared_ptr<ProgressTable::Reader> reader_;
};

TEST_F(ProgressTableTest, SendsOnlyTheNewestStateOfARun) {
  EXPECT_EQ(ReadState(), State::kNothingYet);
  progress::Vertex vertex = Vertex("a");
  table_->OnVertex(vertex);
  vertex.started = Tick();
  table_->OnVertex(vertex);
  vertex.completed = Tick();
  table_->OnVertex(vertex);
  EXPECT_EQ(woken_, 1);
  const StatusResponse batch = Read();
  ASSERT_EQ(batch.vertexes_size(), 2);  // the announcement and the run
  EXPECT_FALSE(batch.vertexes(0).has_started());
  EXPECT_TRUE(batch.vertexes(1).has_completed());
  EXPECT_EQ(ReadState(), State::kNothingYet);
}

TEST_F(ProgressTableTest, ASecondRunKeepsTheFirst) {
  progress::Vertex vertex = Vertex("a");
  for (int run = 0; run < 2; ++run) {
    vertex.started = Tick();
    vertex.completed = Tick();
    table_->OnVertex(vertex);
  }
  EXPECT_EQ(Read().vertexes_size(), 2);
}

TEST_F(ProgressTableTest, InputsThatNeverRanAreCached) {
  table_->OnVertex(Vertex("in"));
  progress::Vertex vertex = Vertex("a", {"in", "unknown"});
  table_->OnVertex(vertex);
  vertex.started = Tick();
  table_->OnVertex(vertex);
  const StatusResponse batch = Read();
  ASSERT_EQ(batch.vertexes_size(), 4);
  EXPECT_TRUE(batch.vertexes(2).cached());
  EXPECT_EQ(batch.vertexes(2).name(), "in");
  EXPECT_EQ(batch.vertexes(2).completed().nanos(), batch.vertexes(3).started().nanos());
}

TEST_F(ProgressTableTest, StatusesEndWithTheirVertex) {
  progress::Vertex vertex = Vertex("a");
  vertex.started = Tick();
  table_->OnVertex(vertex);
  table_->OnStatus({.vertex = vertex.digest, .id = "part", .current = 1, .timestamp = Tick()});
  table_->OnStatus({.vertex = Sha256Of("stranger"), .id = "part", .timestamp = Tick()});
  vertex.completed = Tick();
  table_->OnVertex(vertex);
  const StatusResponse batch = Read();
  ASSERT_EQ(batch.statuses_size(), 1);
  EXPECT_TRUE(batch.statuses(0).has_started());
  EXPECT_TRUE(batch.statuses(0).has_completed());
}

TEST_F(ProgressTableTest, LogsAreNeverLostAndComeInBatches) {
  progress::Vertex vertex = Vertex("a");
  vertex.started = Tick();
  table_->OnVertex(vertex);
  for (int i = 0; i < 30; ++i) {
    table_->OnLog(
        {vertex.digest, Tick(), progress::Stream::kStdout, std::string(100'000, 'a' + i % 26)});
  }
  vertex.completed = Tick();
  table_->OnVertex(vertex);
  table_->Close();
  size_t bytes = 0;
  int batches = 0;
  bool completed = false;
  StatusResponse batch;
  while (reader_->Next(&batch) == State::kBatch) {
    ++batches;
    EXPECT_LT(batch.ByteSizeLong(), 1'300'000U);
    EXPECT_FALSE(completed) << "lines after the end";
    for (const auto& log : batch.logs()) bytes += log.msg().size();
    for (const auto& one : batch.vertexes()) completed = completed || one.has_completed();
  }
  EXPECT_EQ(bytes, 3'000'000U);
  EXPECT_EQ(batches, 3);
  EXPECT_TRUE(completed);
}

TEST_F(ProgressTableTest, TheEndLeavesNothingOpen) {
  progress::Vertex vertex = Vertex("a");
  vertex.started = Tick();
  table_->OnVertex(vertex);
  table_->Close();
  const StatusResponse batch = Read();
  EXPECT_EQ(batch.vertexes(0).error(), "context canceled");
  EXPECT_EQ(ReadState(), State::kEnd);
  const auto late = table_->NewReader([] {});
  StatusResponse again;
  EXPECT_EQ(late->Next(&again), State::kBatch);
  EXPECT_EQ(again.SerializeAsString(), batch.SerializeAsString());
}

TEST(JobTableTest, WaitersGetLateJobsAndRefsStayTaken) {
  ManualQueue loop;
  FakeClock clock;
  JobTable table(loop, clock);
  std::string got;
  const auto note = [&](Result<LiveJobPtr> job) {
    got = job.ok() ? (*job)->ref : job.error().ToString();
  };
  table.WhenPresent("late", note);
  EXPECT_EQ(got, "");
  const LiveJobPtr job = *table.Add("late");
  EXPECT_EQ(got, "late");
  EXPECT_EQ(table.Add("late").error().ToString(), "job ID late exists");
  std::string bridge;
  table.WhenBridge("late", [&](auto result) { bridge = result.error().ToString(); });
  table.End(job);
  EXPECT_EQ(bridge, "");  // the answer to Solve is to come first
  EXPECT_FALSE(table.Add("late").ok());
  loop.Advance(kBridgeWait);
  loop.RunAll();
  EXPECT_EQ(bridge, "no such job late");
  loop.Advance(kJobLinger);
  loop.RunAll();
  EXPECT_TRUE(table.Add("late").ok());
  table.WhenPresent("never", note);
  loop.Advance(kStatusWait);
  loop.RunAll();
  EXPECT_EQ(got, "no such job never");
}

TEST(JobTableTest, IsIdleOnceWhatTheLastJobHeldIsFree) {
  ManualQueue loop;
  FakeClock clock;
  JobTable table(loop, clock);
  std::weak_ptr<ProgressTable> progress;
  int idle = 0;
  table.OnIdle([&] {
    ++idle;
    EXPECT_TRUE(progress.expired());
  });
  for (const char* ref : {"a", "b"}) {
    LiveJobPtr job = *table.Add(ref);
    progress = job->progress;
    table.End(job);
  }
  loop.Advance(kJobLinger);
  loop.RunAll();
  EXPECT_EQ(idle, 1);
}

TEST_F(ProgressTableTest, KeepsForOneWhatTheOthersDoNotSee) {
  int flushed = 0;
  const auto keeper = table_->NewKeeper([] {}, [&] { ++flushed; });
  progress::Vertex vertex = Vertex("a");
  vertex.started = Tick();
  table_->OnVertex(vertex);
  const auto log = [&](const std::string& data) {
    return progress::VertexLog{vertex.digest, Tick(), progress::Stream::kStdout, data};
  };
  table_->OnLog(log("first "));
  table_->OnShownLog(log("clipped"));
  table_->OnKeptLog(log("second "));
  EXPECT_EQ(flushed, 0);
  table_->OnKeptLog(log(std::string(2 << 20, 'x')));
  EXPECT_EQ(flushed, 1);
  table_->OnLog(log(" third"));
  const auto all = [](ProgressTable::Reader& reader) {
    std::string text;
    StatusResponse batch;
    while (reader.Next(&batch) == State::kBatch) {
      for (const auto& one : batch.logs()) text += one.msg();
    }
    return text;
  };
  EXPECT_EQ(all(*reader_), "first clipped third");
  EXPECT_EQ(all(*keeper), "first second " + std::string(2 << 20, 'x') + " third");
  EXPECT_EQ(all(*table_->NewReader([] {})), "first clipped third");
}

// What the heap has in use; 0 under a sanitizer.
size_t HeapBytes() { return mallinfo2().uordblks; }

constexpr size_t kMiB = 1 << 20;

TEST_F(ProgressTableTest, WhatTheKeeperTookIsFreed) {
  std::shared_ptr<ProgressTable::Reader> keeper;
  size_t kept = 0;
  const auto flush = [&] {
    StatusResponse batch;
    while (keeper->Next(&batch) == State::kBatch) {
      for (const auto& log : batch.logs()) kept += log.msg().size();
    }
  };
  keeper = table_->NewKeeper([] {}, flush);
  progress::Vertex vertex = Vertex("a");
  vertex.started = Tick();
  table_->OnVertex(vertex);
  progress::VertexLog log{vertex.digest, Tick(), progress::Stream::kStdout, "x\n"};
  const size_t before = HeapBytes();
  constexpr int kLines = 1'000'000;
  for (int i = 0; i < kLines; ++i) {
    if (i % 1000 == 0) log.timestamp = Tick();
    log.stream = i % 2 == 0 ? progress::Stream::kStdout : progress::Stream::kStderr;
    table_->OnKeptLog(log);
  }
  flush();
  EXPECT_EQ(kept, size_t{2} * kLines);
  EXPECT_LT(HeapBytes(), before + 4 * kMiB);
  // Nothing waits for a keeper whose log is full.
  keeper->StopKeeping();
  table_->OnKeptLog(log);
  flush();
  EXPECT_EQ(kept, size_t{2} * kLines);
}

TEST_F(ProgressTableTest, ShownPiecesCostLittleMoreThanTheirBytes) {
  progress::Vertex vertex = Vertex("a");
  vertex.started = Tick();
  table_->OnVertex(vertex);
  progress::VertexLog log{vertex.digest, Tick(), progress::Stream::kStdout, "x\n"};
  std::string read;
  const auto read_all = [&read](ProgressTable::Reader& reader) {
    StatusResponse batch;
    while (reader.Next(&batch) == State::kBatch) {
      for (const auto& one : batch.logs()) read += one.msg();
    }
  };
  const size_t before = HeapBytes();
  std::string written;
  for (int i = 0; i < 1'000'000; ++i) {
    if (i % 1000 == 0) log.timestamp = Tick();
    log.data = std::to_string(i % 10) + "\n";
    written += log.data;
    table_->OnLog(log);
    if (i % 300 == 0) read_all(*reader_);
  }
  read_all(*reader_);
  EXPECT_EQ(read, written);
  EXPECT_LT(HeapBytes(), before + 16 * kMiB);
  // Who comes late gets the same.
  read.clear();
  read_all(*table_->NewReader([] {}));
  EXPECT_EQ(read, written);
}

// Joining changes nothing of what a reader gets, wherever it is.
TEST_F(ProgressTableTest, JoinedPiecesKeepTheirOrderAndStreams) {
  const auto keeper = table_->NewKeeper([] {}, [] {});
  std::vector<progress::Vertex> vertices = {Vertex("a"), Vertex("b")};
  for (progress::Vertex& vertex : vertices) {
    vertex.started = Tick();
    table_->OnVertex(vertex);
  }
  using Text = std::map<std::pair<std::string, int64_t>, std::string>;
  Text written;
  Text slow;
  Text kept;
  std::map<std::string, std::string> order;  // both streams of a vertex
  const auto read = [](ProgressTable::Reader& reader, Text* text,
                       std::map<std::string, std::string>* both = nullptr, int batches = 1 << 30) {
    StatusResponse batch;
    while (batches-- > 0 && reader.Next(&batch) == State::kBatch) {
      for (const auto& one : batch.logs()) {
        (*text)[{one.vertex(), one.stream()}] += one.msg();
        if (both != nullptr) (*both)[one.vertex()] += one.msg();
      }
    }
  };
  std::map<std::string, std::string> want;
  for (int i = 0; i < 20'000; ++i) {
    if (i % 64 == 0) Tick();
    const progress::Vertex& vertex = vertices[i % 3 == 0 ? 0 : 1];
    const auto stream = i % 5 == 0 ? progress::Stream::kStderr : progress::Stream::kStdout;
    const std::string data = std::to_string(i) + " ";
    table_->OnLog({vertex.digest, clock_.Now(), stream, data});
    written[{vertex.digest.ToString(), static_cast<int64_t>(stream)}] += data;
    want[vertex.digest.ToString()] += data;
    if (i % 700 == 0) read(*keeper, &kept);
    if (i % 1900 == 0) read(*reader_, &slow, &order, 1);
  }
  read(*keeper, &kept);
  read(*reader_, &slow, &order);
  EXPECT_EQ(kept, written);
  EXPECT_EQ(slow, written);
  EXPECT_EQ(order, want);
  Text late;
  std::map<std::string, std::string> late_order;
  read(*table_->NewReader([] {}), &late, &late_order);
  EXPECT_EQ(late, written);
  EXPECT_EQ(late_order, want);
}

TEST(JobTableTest, ABridgeThatWillNeverBeIsNotWaitedFor) {
  ManualQueue loop;
  FakeClock clock;
  JobTable table(loop, clock);
  const LiveJobPtr job = *table.Add("refused");
  std::string early;
  table.WhenBridge("refused", [&](auto result) { early = result.error().ToString(); });
  table.End(job);
  table.Answered(job);
  EXPECT_EQ(early, "");
  loop.Advance(kAnswerLead);
  loop.RunAll();
  EXPECT_EQ(early, "no such job refused");
  std::string late;
  table.WhenBridge("refused", [&](auto result) { late = result.error().ToString(); });
  EXPECT_EQ(late, "no such job refused");
}

}  // namespace
}  // namespace kiln::control
