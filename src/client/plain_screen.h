#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/display_model.h"
#include "client/screen.h"

namespace kiln::client {

// One line per event, each with its step's number: for logs and pipes. Where steps run side by
// side, one is shown for a while before the next has its turn; nothing is left out.
class PlainScreen final : public Screen {
 public:
  // Steps have the numbers given, others the next free ones in the order of their coming.
  explicit PlainScreen(bool colours, std::map<Digest, int> numbers = {});

  void OnVertex(const progress::Vertex& vertex, WallTime now) override;
  void OnStatus(const progress::VertexStatus& status, WallTime now) override;
  void OnLog(const progress::VertexLog& log, WallTime now) override;
  void OnWarning(const progress::VertexWarning& warning, WallTime now) override;
  std::string Draw(WallTime now, ScreenSize size) override;
  std::string Finish(WallTime now, ScreenSize size) override;

 private:
  struct Step {
    Digest digest;
    int number = 0;  // 0: nothing shown yet
    std::string name;
    std::string error;
    std::optional<WallTime> started;
    std::optional<WallTime> completed;
    nanoseconds earlier_runs{0};
    std::map<std::string, std::pair<WallTime, bool>> statuses;  // last shown, done
    std::deque<std::string> pending;                            // lines, without number
    WallTime pending_since;
    std::string ending;  // "DONE 1.2s", not shown yet
    WallTime ended_at;
    std::deque<std::string> tail;  // of its log
    size_t log_lines = 0;
  };

  void Add(Step& step, std::string line, WallTime now);
  void AddLog(Step& step, std::string line, WallTime at, WallTime now);
  bool HasSomething(const Step& step) const;
  void Show(Step& step, bool with_ending, WallTime now, std::string* out);
  Step* Next(WallTime now);
  std::string Failures() const;

  LineSplitter lines_;
  const std::map<Digest, int> numbers_;
  int next_number_ = 1;
  std::unordered_map<Digest, Step> steps_;
  std::vector<Digest> order_;       // of their coming
  std::vector<std::string> loose_;  // lines that belong to no step
  Step* current_ = nullptr;
  WallTime current_since_;
  WallTime current_shown_;
};

}  // namespace kiln::client
