#include "ops/step_log.h"

#include <gtest/gtest.h>

#include <map>

namespace kiln::ops {
namespace {

using progress::Stream;

class StepLogTest : public testing::Test {
 protected:
  class Shown final : public progress::Sink {
   public:
    void OnVertex(const progress::Vertex&) override {}
    void OnStatus(const progress::VertexStatus&) override {}
    void OnWarning(const progress::VertexWarning&) override {}
    void OnLog(const progress::VertexLog& log) override {
      EXPECT_FALSE(log.data.empty());
      (log.stream == Stream::kStdout ? out : err) += log.data;
    }
    std::string out;
    std::string err;
  };

  StepLog Make(LogLimits limits) { return {shown_, clock_, limits}; }

  FakeClock clock_;
  std::shared_ptr<Shown> shown_ = std::make_shared<Shown>();
};

TEST_F(StepLogTest, WhatIsWithinTheLimitsIsWhole) {
  StepLog log = Make({.max_bytes = 10, .max_bytes_per_second = 10});
  log.Write(Stream::kStdout, "01234");
  log.Write(Stream::kStdout, "56789");
  log.Write(Stream::kStderr, "0123456789");
  EXPECT_EQ(shown_->out, "0123456789");
  EXPECT_EQ(shown_->err, "0123456789");
  log.ShowEnd();
  EXPECT_EQ(shown_->out, "0123456789");
}

TEST_F(StepLogTest, ClipsOnceWhereTheSizeIsReached) {
  StepLog log = Make({.max_bytes = 2048, .max_bytes_per_second = -1});
  log.Write(Stream::kStdout, std::string(2000, 'a'));
  log.Write(Stream::kStdout, std::string(100, 'b'));
  log.Write(Stream::kStdout, std::string(100, 'c'));
  EXPECT_EQ(shown_->out, std::string(2000, 'a') + std::string(48, 'b') +
                             "\n[output clipped, log limit 2KiB reached]\n");
  EXPECT_EQ(shown_->err, "");
}

TEST_F(StepLogTest, GoesOnWhenTheSpeedIsKeptAgain) {
  StepLog log = Make({.max_bytes = 1000, .max_bytes_per_second = 10});
  log.Write(Stream::kStdout, "0123456789abcde");
  const std::string first = "0123456789\n[output clipped, log limit 10B/s reached]\n";
  EXPECT_EQ(shown_->out, first);
  log.Write(Stream::kStdout, "xy");  // counts as well
  clock_.Advance(std::chrono::seconds(1));
  log.Write(Stream::kStdout, "z");
  EXPECT_EQ(shown_->out, first + "z");
  log.Write(Stream::kStdout, "1234");
  EXPECT_EQ(shown_->out, first + "z12\n[output clipped, log limit 10B/s reached]\n");
}

TEST_F(StepLogTest, FailuresShowTheEndOfWhatWasClipped) {
  StepLog log = Make({.max_bytes = 4, .max_bytes_per_second = -1});
  log.Write(Stream::kStderr, "long line\n");
  for (int i = 0; i < 30; ++i) log.Write(Stream::kStderr, std::string(64 << 10, '.'));
  log.Write(Stream::kStderr, "the reason\n");
  const size_t before = shown_->err.size();
  log.ShowEnd();
  const std::string end = shown_->err.substr(before);
  EXPECT_EQ(end.size(), 256u << 10);
  EXPECT_TRUE(end.ends_with(".the reason\n"));
  EXPECT_EQ(shown_->out, "");
}

TEST_F(StepLogTest, TheEnvironmentSaysOtherwise) {
  std::map<std::string, std::string> environment;
  const auto get = [&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  };
  EXPECT_EQ(LogLimits::From(get).max_bytes, 2 << 20);
  EXPECT_EQ(LogLimits::From(get).max_bytes_per_second, 200 << 10);
  environment = {{"BUILDKIT_STEP_LOG_MAX_SIZE", "-1"}, {"BUILDKIT_STEP_LOG_MAX_SPEED", "many"}};
  EXPECT_EQ(LogLimits::From(get).max_bytes, -1);
  EXPECT_EQ(LogLimits::From(get).max_bytes_per_second, 200 << 10);
  StepLog log = Make(LogLimits::From(get));
  log.Write(Stream::kStdout, std::string(5 << 20, 'x'));
  EXPECT_EQ(shown_->out.size(), 5u << 20);
}

}  // namespace
}  // namespace kiln::ops
