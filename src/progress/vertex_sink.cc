#include "progress/vertex_sink.h"

#include <utility>

namespace kiln::progress {
namespace {

class VertexSink final : public Sink {
 public:
  VertexSink(std::shared_ptr<Sink> sink, const Digest& vertex)
      : sink_(std::move(sink)), vertex_(vertex) {}

  void OnVertex(const Vertex& vertex) override { sink_->OnVertex(vertex); }
  void OnStatus(const VertexStatus& status) override { sink_->OnStatus(status); }
  void OnLog(const VertexLog& log) override { sink_->OnLog(Named(log)); }
  void OnWarning(const VertexWarning& warning) override { sink_->OnWarning(Named(warning)); }

 private:
  template <typename Event>
  Event Named(Event event) const {
    if (event.vertex == Digest()) event.vertex = vertex_;
    return event;
  }

  const std::shared_ptr<Sink> sink_;
  const Digest vertex_;
};

}  // namespace

Activity OnBehalfOf(const Activity& activity, const Digest& vertex) {
  Activity out = activity;
  out.sink = std::make_shared<VertexSink>(activity.sink, vertex);
  return out;
}

}  // namespace kiln::progress
