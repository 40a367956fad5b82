#include "progress/activity.h"

#include <gtest/gtest.h>

namespace kiln::progress {
namespace {

class RecordingSink final : public Sink {
 public:
  void OnVertex(const Vertex& vertex) override { vertices.push_back(vertex); }
  void OnStatus(const VertexStatus& status) override { statuses.push_back(status); }
  void OnLog(const VertexLog& log) override { logs.push_back(log); }
  void OnWarning(const VertexWarning&) override {}
  std::vector<Vertex> vertices;
  std::vector<VertexStatus> statuses;
  std::vector<VertexLog> logs;
};

TEST(ActivityTest, ChecksCancellationAndDeadline) {
  Activity activity;
  EXPECT_TRUE(activity.Check().ok());
  EXPECT_EQ(activity.WithTimeout(nanoseconds(-1)).Check().error().code(), Code::kDeadlineExceeded);
  CancelSource source;
  Activity cancellable = activity.WithCancel(source.token());
  source.Cancel();
  EXPECT_EQ(cancellable.Check().error().code(), Code::kCancelled);
}

TEST(VertexScopeTest, CompletesOnceWithTheSameStart) {
  auto sink = std::make_shared<RecordingSink>();
  FakeClock clock;
  {
    VertexScope scope(sink, clock, "[internal] load");
    clock.Advance(std::chrono::seconds(2));
    EXPECT_FALSE(scope.Finish(NotFound("no such file")).ok());
  }
  {
    VertexScope abandoned(sink, clock, "other");
  }
  ASSERT_EQ(sink->vertices.size(), 4U);
  EXPECT_EQ(sink->vertices[0].started, sink->vertices[1].started);
  EXPECT_EQ(*sink->vertices[1].completed - *sink->vertices[1].started, std::chrono::seconds(2));
  EXPECT_EQ(sink->vertices[1].error, "no such file");
  EXPECT_EQ(sink->vertices[3].error, "context canceled");
  EXPECT_NE(sink->vertices[0].digest, sink->vertices[2].digest);
}

TEST(StatusScopeTest, ReportsCompletionOnce) {
  auto sink = std::make_shared<RecordingSink>();
  FakeClock clock;
  Activity activity;
  activity.sink = sink;
  {
    StatusScope scope(activity, clock, Digest(), "extracting");
    scope.Update(3, 10);
    scope.Done();
  }
  ASSERT_EQ(sink->statuses.size(), 3U);
  EXPECT_EQ(sink->statuses[1].current, 3);
  EXPECT_TRUE(sink->statuses[2].completed);
}

}  // namespace
}  // namespace kiln::progress
