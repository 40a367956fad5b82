#pragma once

#include <deque>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/display_model.h"
#include "client/screen.h"

namespace kiln::client {

// The state of all steps, redrawn in place. Where the rows do not suffice, what runs stays and what
// ended first goes; at the end everything is shown once.
class TtyScreen final : public Screen {
 public:
  TtyScreen(WallTime began, bool colours) : began_(began), colours_(colours), lines_(colours) {}

  void OnVertex(const progress::Vertex& vertex, WallTime now) override;
  void OnStatus(const progress::VertexStatus& status, WallTime now) override;
  void OnLog(const progress::VertexLog& log, WallTime now) override;
  void OnWarning(const progress::VertexWarning& warning, WallTime now) override;
  std::string Draw(WallTime now, ScreenSize size) override;
  std::string Finish(WallTime now, ScreenSize size) override;

 private:
  struct Step {
    progress::Vertex vertex;
    nanoseconds earlier_runs{0};
    std::vector<progress::VertexStatus> statuses;
    std::deque<std::string> log;  // its last lines
    size_t log_lines = 0;         // all there were
  };
  // What stays when there are too few rows, the more important the later.
  enum class Weight { kOldStatus, kEnded, kDoneStatus, kEarlierLog, kLog, kStatus, kRunning };
  struct Line {
    Weight weight;
    std::string text;
  };

  void Begin(Step& step);
  std::string Header(WallTime now, bool last) const;
  void AppendStep(const Step& step, WallTime now, size_t width, std::vector<Line>* lines) const;
  void AppendLog(const Step& step, size_t width, std::vector<Line>* lines) const;
  std::string Row(const std::string& text, nanoseconds time, size_t width,
                  const char* colour) const;
  std::string Paint(const char* colour, const std::string& text) const;
  std::string Frame(const std::vector<std::string>& rows, ScreenSize size);
  size_t RowsToGoUp(ScreenSize size) const;
  std::string Failures() const;

  const WallTime began_;
  const bool colours_;
  std::unordered_map<Digest, Step*> by_digest_;
  std::list<Step> steps_;  // in the order of their first start, then those that have not
  std::vector<std::string> warnings_;
  LineSplitter lines_;
  // What clocks differ by: from the first start seen.
  std::optional<nanoseconds> skew_;
  // The last frame.
  std::vector<size_t> drawn_;  // columns of each row
  size_t drawn_width_ = 0;
};

}  // namespace kiln::client
