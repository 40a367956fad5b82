#pragma once

#include <mutex>

#include "client/display.h"

namespace kiln::client {

// Every event as one line of JSON, in the form of BuildKit's rawjson progress (client.SolveStatus).
class JsonDisplay final : public Display {
 public:
  explicit JsonDisplay(std::FILE* out) : out_(out) {}

  void OnVertex(const progress::Vertex& vertex) override;
  void OnStatus(const progress::VertexStatus& status) override;
  void OnLog(const progress::VertexLog& log) override;
  void OnWarning(const progress::VertexWarning& warning) override;
  void Finish() override {}

 private:
  void Write(const std::string& line);

  std::FILE* out_;
  std::mutex mutex_;
};

}  // namespace kiln::client
