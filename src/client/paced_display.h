#pragma once

#include <memory>
#include <thread>

#include "base/clock.h"
#include "base/mutex.h"
#include "client/display.h"
#include "client/screen.h"

namespace kiln::client {

// Writes what a screen draws to a file, ten times a second, on a thread of its own. Asks the
// terminal for its size each time, if it is one.
class PacedDisplay final : public Display {
 public:
  PacedDisplay(std::FILE* out, const Clock& clock, std::unique_ptr<Screen> screen);
  ~PacedDisplay() override;

  void OnVertex(const progress::Vertex& vertex) override;
  void OnStatus(const progress::VertexStatus& status) override;
  void OnLog(const progress::VertexLog& log) override;
  void OnWarning(const progress::VertexWarning& warning) override;
  void Finish() override;

 private:
  void Run();
  ScreenSize Size() const;
  void Write(const std::string& text);

  std::FILE* const out_;
  const Clock& clock_;
  Mutex mutex_;
  CondVar changed_;
  const std::unique_ptr<Screen> screen_ PT_GUARDED_BY(mutex_);
  bool finished_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace kiln::client
