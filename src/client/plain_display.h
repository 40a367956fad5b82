#pragma once

#include <map>
#include <mutex>
#include <unordered_map>

#include "client/display.h"
#include "client/display_model.h"

namespace kiln::client {

// One line per event, each with its step's number: for logs and pipes.
class PlainDisplay final : public Display {
 public:
  explicit PlainDisplay(std::FILE* out) : out_(out) {}

  void OnVertex(const progress::Vertex& vertex) override;
  void OnStatus(const progress::VertexStatus& status) override;
  void OnLog(const progress::VertexLog& log) override;
  void OnWarning(const progress::VertexWarning& warning) override;
  void Finish() override;

 private:
  struct Step {
    int number = 0;  // 0: nothing printed yet
    std::string name;
    std::optional<WallTime> started;
    std::optional<WallTime> completed;
    std::map<std::string, std::pair<WallTime, bool>> statuses;  // last printed, done
  };

  Step& Switch(const Digest& digest);
  void Print(const Step& step, std::string_view text);

  std::FILE* out_;
  std::mutex mutex_;
  std::unordered_map<Digest, Step> steps_;
  LineSplitter lines_;
  int next_number_ = 1;
  Digest current_;
};

}  // namespace kiln::client
