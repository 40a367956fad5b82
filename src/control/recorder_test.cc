#include "control/recorder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "base/ids.h"

namespace kiln::control {
namespace {

class RecorderTest : public testing::Test {
 protected:
  RecorderTest() : dir_(testing::TempDir() + "/recorder-" + NewId()) {
    auto history = history::History::Open(dir_, clock_, {});
    EXPECT_TRUE(history.ok());
    history_ = std::move(*history);
    job_->ref = "build";
    job_->created = clock_.Now();
    job_->progress = std::make_shared<ProgressTable>(clock_);
  }
  ~RecorderTest() override { std::filesystem::remove_all(dir_); }

  std::shared_ptr<Recorder> Begin() {
    Recorder::Parts parts;
    parts.history = history_.get();
    parts.timers = &timers_;
    parts.blocking = pool_.get();
    parts.clock = &clock_;
    return Recorder::Begin(parts, job_, {});
  }
  void Step(const std::string& name) {
    progress::Vertex vertex;
    vertex.digest = Sha256Of(name);
    vertex.name = name;
    job_->progress->OnVertex(vertex);
  }
  // Of the only log there is.
  uintmax_t LogBytes() const {
    for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
      if (entry.path().extension() == ".log") return entry.file_size();
    }
    return 0;
  }
  // Waits for what was submitted before.
  void Settle() {
    std::promise<void> settled;
    pool_->Submit([&] { settled.set_value(); });
    settled.get_future().wait();
  }

  const std::string dir_;
  FakeClock clock_;
  std::unique_ptr<history::History> history_;
  ManualQueue timers_;
  std::unique_ptr<WorkerPool> pool_ = std::make_unique<WorkerPool>("recorder-test", 1);
  const LiveJobPtr job_ = std::make_shared<LiveJob>();
};

// Timers of all builds share a thread, which must not wait for the disk.
TEST_F(RecorderTest, TheTimersThreadDoesNotWrite) {
  const auto recorder = Begin();
  ASSERT_NE(recorder, nullptr);
  const uintmax_t before = LogBytes();
  Step("a");
  EXPECT_EQ(timers_.timers(), 1U);
  std::promise<void> go_on;
  pool_->Submit([&] { go_on.get_future().wait(); });
  timers_.Advance(std::chrono::seconds(1));
  timers_.RunAll();
  EXPECT_EQ(LogBytes(), before);
  go_on.set_value();
  Settle();
  EXPECT_GT(LogBytes(), before);
  recorder->Complete(OkStatus(), {});
}

TEST_F(RecorderTest, WhatComesCloseTogetherIsWrittenTogether) {
  const auto recorder = Begin();
  ASSERT_NE(recorder, nullptr);
  for (int i = 0; i < 100; ++i) Step("step " + std::to_string(i));
  EXPECT_EQ(timers_.timers(), 1U);
  timers_.Advance(std::chrono::milliseconds(100));
  timers_.RunAll();
  Settle();
  const uintmax_t before = LogBytes();
  timers_.Advance(std::chrono::milliseconds(100));
  timers_.RunAll();
  Settle();
  const uintmax_t after = LogBytes();
  EXPECT_GT(after, before);
  // A timer that is late finds nothing to do.
  Step("late");
  recorder->Complete(OkStatus(), {});
  Settle();
  const uintmax_t at_end = LogBytes();
  EXPECT_GT(at_end, after);
  timers_.Advance(std::chrono::seconds(1));
  timers_.RunAll();
  Settle();
  EXPECT_EQ(LogBytes(), at_end);
}

}  // namespace
}  // namespace kiln::control
