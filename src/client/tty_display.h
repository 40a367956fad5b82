#pragma once

#include <condition_variable>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "client/display.h"
#include "client/display_model.h"

namespace kiln::client {

// Redraws the state of all steps in place. Completed steps that no longer fit scroll away upwards.
class TtyDisplay final : public Display {
 public:
  TtyDisplay(std::FILE* out, const Clock& clock);
  ~TtyDisplay() override;

  void OnVertex(const progress::Vertex& vertex) override;
  void OnStatus(const progress::VertexStatus& status) override;
  void OnLog(const progress::VertexLog& log) override;
  void OnWarning(const progress::VertexWarning& warning) override;
  void Finish() override;

 private:
  struct Step {
    progress::Vertex vertex;
    nanoseconds earlier_runs{0};
    std::vector<progress::VertexStatus> statuses;
    std::deque<std::string> log_tail;
    std::vector<std::string> log;  // of failed steps
    bool printed = false;          // has scrolled away
  };

  void Run();
  void Draw(bool last);
  std::string Header() const;
  void AppendStep(const Step& step, bool last, std::vector<std::string>* lines) const;
  std::string TimeColumn(const std::string& text, const std::string& time, size_t width) const;
  void PrintFailures();

  std::FILE* out_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<Digest, Step*> by_digest_;
  std::list<Step> steps_;  // in the order of their first start
  std::vector<std::string> warnings_;
  LineSplitter lines_;
  const WallTime began_;
  // What clocks differ by: from the first start seen.
  std::optional<nanoseconds> skew_;
  size_t drawn_lines_ = 0;
  size_t width_ = 80;
  size_t height_ = 24;
  bool finished_ = false;
  std::thread thread_;
};

}  // namespace kiln::client
