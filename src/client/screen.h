#pragma once

#include <string>

#include "progress/progress.h"

namespace kiln::client {

struct ScreenSize {
  size_t width = 80;
  size_t height = 24;
};

// Turns a build's progress into text. Time is given, never asked for; not thread-safe.
class Screen {
 public:
  virtual ~Screen() = default;
  virtual void OnVertex(const progress::Vertex& vertex, WallTime now) = 0;
  virtual void OnStatus(const progress::VertexStatus& status, WallTime now) = 0;
  virtual void OnLog(const progress::VertexLog& log, WallTime now) = 0;
  virtual void OnWarning(const progress::VertexWarning& warning, WallTime now) = 0;
  // What is to be written now; called again and again.
  virtual std::string Draw(WallTime now, ScreenSize size) = 0;
  // The last of it.
  virtual std::string Finish(WallTime now, ScreenSize size) = 0;
};

}  // namespace kiln::client
