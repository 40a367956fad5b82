#pragma once

#include "base/mutex.h"
#include "client/display.h"

namespace kiln::client {

// Every event as one line of JSON, in the form of BuildKit's rawjson progress (client.SolveStatus).
class JsonDisplay final : public Display {
 public:
  explicit JsonDisplay(std::FILE* out);

  void OnVertex(const progress::Vertex& vertex) override;
  void OnStatus(const progress::VertexStatus& status) override;
  void OnLog(const progress::VertexLog& log) override;
  void OnWarning(const progress::VertexWarning& warning) override;
  void Finish() override {}

 private:
  void Write(const std::string& line);

  std::FILE* const out_ PT_GUARDED_BY(mutex_);
  const bool terminal_;
  Mutex mutex_;
};

}  // namespace kiln::client
