#include "progress/vertex_sink.h"

#include <gtest/gtest.h>

namespace kiln::progress {
namespace {

class Recorder final : public Sink {
 public:
  void OnVertex(const Vertex&) override {}
  void OnStatus(const VertexStatus& status) override { seen.push_back(status.vertex); }
  void OnLog(const VertexLog& log) override { seen.push_back(log.vertex); }
  void OnWarning(const VertexWarning& warning) override { seen.push_back(warning.vertex); }
  std::vector<Digest> seen;
};

TEST(VertexSinkTest, NamesWhatHasNoVertex) {
  const auto recorder = std::make_shared<Recorder>();
  Activity activity;
  activity.sink = recorder;
  const Digest mine = Sha256Of("mine");
  const Digest other = Sha256Of("other");
  const Activity named = OnBehalfOf(activity, mine);
  named.sink->OnLog({});
  named.sink->OnWarning({});
  VertexLog log;
  log.vertex = other;
  named.sink->OnLog(log);
  EXPECT_EQ(recorder->seen, (std::vector<Digest>{mine, mine, other}));
}

}  // namespace
}  // namespace kiln::progress
